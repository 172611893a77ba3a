"""The code of a SLURM job, with a script in place of the command `squeue`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Its first import closes the handlers of all logging: within a test, absl's one would
# close the standard error that pytest captures.
import submitit

from kmtard.recipe.schema import Slurm as Settings
from kmtard.recipe.schema import Study
from kmtard.runs import EventWriter, Run, RunError, list_runs
from kmtard.runs.queue.queue import Queue
from kmtard.study import job
from kmtard.study.grid import Cell, cells_of
from kmtard.study.job import START, Job, Listed, _end, _take_over, listed_jobs
from kmtard.study.place import Order
from kmtard.study.slurm import Slurm

pytestmark = pytest.mark.once("torch")

LISTED_JOBS = {"7": Listed("RUNNING", "a"), "8": Listed("COMPLETING", "b")}
LISTED = "7|RUNNING|kmtard-a\n8|PENDING|other|name"


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace `squeue` by a script; return the file with the list that it prints."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "list").write_text(LISTED)
    (folder / "squeue").write_text(f"#!/bin/sh\nexec cat {folder / 'list'}\n")
    (folder / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder / "list"


def job_of(recipe: str, method: str) -> Job:
    [cell] = cells_of(recipe, Study(methods=(method,)))
    return Job(cell.task, Path("runs"), cell.key)


def test_jobs_are_listed(squeue: Path) -> None:
    jobs = listed_jobs()
    assert jobs["7"] == ("RUNNING", "kmtard-a")
    assert jobs["8"] == ("PENDING", "other|name")


def test_a_busy_controller_is_asked_again(
    squeue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "RETRY", 0)
    count = squeue.parent / "count"
    script = squeue.parent / "squeue"
    busy = f"#!/bin/sh\necho >> {count}\n[ $(wc -l < {count}) -ge WANTED ] || "
    busy += "{ echo Socket timed out >&2; exit 1; }\n" + f"exec cat {squeue}\n"
    script.write_text(busy.replace("WANTED", str(job.ATTEMPTS)))
    assert listed_jobs()["7"].state == "RUNNING"
    script.write_text(busy.replace("WANTED", str(3 * job.ATTEMPTS)))
    with pytest.raises(RunError, match="SLURM does not answer.*Socket timed out"):
        listed_jobs()
    # Nor does it take longer than its time, and the text is no bytes.
    script.write_text("#!/bin/sh\necho slow >&2\nexec sleep 60\n")
    monkeypatch.setattr(job, "PATIENCE", 0.2)
    monkeypatch.setattr(job, "ATTEMPTS", 1)
    with pytest.raises(RunError, match="SLURM does not answer.*: slow$"):
        listed_jobs()


def test_a_run_is_started_once(stand_in: Queue, recipe: str) -> None:
    one = job_of(recipe, "natural")
    assert Run(one()).state() == "finished"
    assert one() == str(list_runs("runs")[0].path)
    assert len(list_runs("runs")) == 1


def test_a_failure_is_reported_and_the_next_job_resumes(
    stand_in: Queue, recipe: str
) -> None:
    one = job_of(recipe, "sat")
    with pytest.raises(RunError, match="is failed; its process ended with 1"):
        one()
    one()
    [run] = list_runs("runs")
    assert run.state() == "finished"
    with pytest.raises(RunError, match="is not started"):
        job_of(recipe, "score")()


def test_the_training_ignores_the_signal_of_the_job(tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGUSR2); print('alive')"
    done = subprocess.run(
        ["/bin/sh", "-c", START, "sh", sys.executable, "-c", code],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "alive\n"


def test_a_checkpoint_waits_until_the_training_has_saved(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\nasked = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: asked.append(1))\n"
        "print(flush=True)\nwhile not asked: time.sleep(0.01)\n"
        "time.sleep(0.3)\nopen(sys.argv[1], 'w')"
    )
    saved = tmp_path / "saved"
    command = [sys.executable, "-c", code, saved]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        _end(child.pid)
        assert saved.exists()
    _end(child.pid)  # it is gone: nothing to wait for


def test_a_checkpoint_returns_an_equal_job(recipe: str) -> None:
    pytest.importorskip("submitit")
    one = job_of(recipe, "natural")
    assert one.checkpoint().function == one


@pytest.mark.parametrize(
    ("number", "refused"), [("6", False), ("7", True), (None, False)]
)
def test_a_run_is_taken_over_if_its_job_has_ended(
    recipe: str, squeue: Path, number: str | None, refused: bool
) -> None:
    [cell] = cells_of(recipe, Study())
    run = Run.create("runs", "a", cell.recipe.to_toml(), {})
    EventWriter(run.events_path).write("run_started")
    owner = {**run.info(), "host": "node7", "slurm_job": number}
    run.info_path.write_text(json.dumps(owner))
    assert run.state() == "remote"
    if refused:
        with pytest.raises(RunError, match="job 7, which is still running"):
            _take_over(run)
    else:
        _take_over(run)
    assert run.state() == ("unknown" if number == "6" else "remote")


def test_a_requeued_job_takes_its_own_run_over(
    recipe: str, squeue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [cell] = cells_of(recipe, Study())
    run = Run.create("runs", "a", cell.recipe.to_toml(), {})
    owner = {**run.info(), "host": "node7", "slurm_job": "7"}
    run.info_path.write_text(json.dumps(owner))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    _take_over(run)
    run.claim({})
    assert run.info()["pid"] == os.getpid()


def test_jobs_are_found_by_their_names(recipe: str, squeue: Path) -> None:
    cell: Cell
    [cell] = cells_of(recipe, Study())
    place = Slurm(Path("runs"), Settings(), Path("runs/studies/a/slurm"))
    place.look()
    assert place.state(cell, None) == ""
    for state, expected in (("PENDING", "waiting"), ("COMPLETING", "running")):
        squeue.write_text(f"9|{state}|{place._name(cell)}\n")
        place.look()
        assert place.state(cell, None) == expected
    run = Run.create("runs", "a", cell.recipe.to_toml(), {"slurm_job": "9"})
    assert not place.is_gone(run)
    squeue.write_text("")
    place.look()
    assert place.is_gone(run)
    assert not place.is_gone(Run.create("runs", "b", "", {}))


def test_a_job_is_requeued_only_if_slurm_stopped_it(
    squeue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[int] = []
    previous = signal.signal(signal.SIGUSR2, lambda number, frame: got.append(number))
    monkeypatch.setattr(job, "PATIENCE", 0.01)
    try:
        for number in ("8", "9", "7"):
            monkeypatch.setenv("SLURM_JOB_ID", number)
            monkeypatch.setattr(job, "listed_jobs", lambda: LISTED_JOBS)
            job._requeue()
            assert got == ([signal.SIGUSR2] if number == "7" else [])
    finally:
        signal.signal(signal.SIGUSR2, previous)


def test_a_run_of_several_processes_gets_a_task_for_each(
    recipe: str, squeue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    class Executor:
        def __init__(self, **settings: object) -> None: ...

        def update_parameters(self, **parameters: object) -> None:
            asked.update(parameters)

    monkeypatch.setattr(submitit, "AutoExecutor", Executor)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    several = ['runtime.backend="jax"', "runtime.devices=4", "runtime.processes=4"]
    for overrides, nodes, tasks in (([], 1, 1), (several, 1, 4), (several, 2, 2)):
        [cell] = cells_of(recipe, Study(), overrides=overrides)
        place = Slurm(tmp_path, Settings(nodes=nodes), tmp_path / "slurm")
        place._executor(Order(cell))
        assert (asked["nodes"], asked["tasks_per_node"]) == (nodes, tasks)


@pytest.mark.parametrize("task", [0, 1])
def test_only_the_first_task_takes_a_run_over(
    stand_in: Queue, recipe: str, monkeypatch: pytest.MonkeyPatch, task: int
) -> None:
    one = job_of(recipe, "natural")
    run = Run.open(one())
    EventWriter(run.events_path).write("run_started")
    taken: list[Run] = []
    monkeypatch.setattr("kmtard.study.job._take_over", taken.append)
    monkeypatch.setenv("SLURM_PROCID", str(task))
    one()
    assert [each.path for each in taken] == [run.path][: 1 - task]
