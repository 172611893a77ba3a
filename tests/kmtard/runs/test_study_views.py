"""The cells of a study, with their runs and their entries in the queue."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kmtard.runs import Run, process_start_time
from kmtard.runs.library import Library
from kmtard.runs.queue.entry import Entry
from kmtard.runs.queue.queue import Queue
from kmtard.runs.queue.task import Task
from kmtard.runs.studies import StudyCell, StudyFolder, StudyRecord
from kmtard.runs.study_task import StudyTask
from kmtard.runs.study_views import StudyView, state_of

pytestmark = pytest.mark.once("torch")

MakeRun = Callable[..., Run]


@pytest.fixture(autouse=True)
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Queue:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    return Queue(tmp_path / "runs")


def task(seed: int) -> Task:
    return Task.fit("a.toml", method="sat", overrides=[f"runtime.seed={seed}"])


def written(
    queue: Queue, runs: Sequence[str | None], *, on: str = "local", state: str = ""
) -> StudyFolder:
    """Write the record of a study with one cell per run."""
    cells = [
        StudyCell(
            name=f"sat,s{seed}",
            method="sat",
            seed=seed,
            key=f"abc-s{seed}",
            run=run,
            state=state,
            task=task(seed).as_json(),
        )
        for seed, run in enumerate(runs)
    ]
    folder = StudyFolder.beside(queue.runs_dir, "a-table-1234")
    made = StudyTask(recipe="a.toml", on=on)
    folder.write(StudyRecord(name="x", recipe="a.toml", cells=cells, task=made))
    return folder


def view(queue: Queue) -> StudyView:
    [found] = Library(queue.runs_dir).look(queue).studies
    return found


def changed(queue: Queue, entry: Entry, **changes: object) -> None:
    with queue.change() as content:
        content.update(entry.id, **changes)


def test_each_cell_has_its_run_and_its_state(queue: Queue, make_run: MakeRun) -> None:
    make_run("one")
    make_run("two", state="stopped")
    written(queue, ["one", "two", "gone", None])
    found = view(queue)
    assert found.name == "a-table-1234"
    assert [cell.state for cell in found.cells] == [
        *("finished", "stopped", "new", "new")
    ]
    assert [cell.row.name if cell.row else "" for cell in found.cells] == [
        *("one", "two", "", "")
    ]
    assert {cell.setting for cell in found.cells} == {"abc"}
    assert found.cells[0].where == socket.gethostname()
    assert found.state == "stopped"


def test_the_queue_tells_what_waits_runs_and_failed(
    queue: Queue, make_run: MakeRun
) -> None:
    run = make_run("zero", state="stopped")
    begun = make_run("four", state="running")
    written(queue, ["zero", None, None, None, None])
    resumed = queue.add(Task.resume(run.path), "resume", "jax", run=run.path)
    # What a task may do besides is no part of what it is.
    waiting = queue.add(replace(task(1), trust=True), "sat,s1", "jax")
    failed = queue.add(task(2), "sat,s2", "jax")
    starting = queue.add(task(3), "sat,s3", "jax")
    found_late = queue.add(task(4), "sat,s4", "jax")
    changed(queue, failed, state="failed", exit_code=1)
    alive = {
        "pid": os.getpid(),
        "process_start": process_start_time(os.getpid()),
        "host": socket.gethostname(),
        "gpu": "1",
    }
    for entry in (starting, found_late):
        changed(queue, entry, state="running", **alive)
    changed(queue, found_late, run=str(begun.path))
    cells = view(queue).cells
    assert [cell.state for cell in cells] == [
        *("waiting", "waiting", "failed", "running", "running")
    ]
    assert [cell.entry for cell in cells] == [
        *(resumed.id, waiting.id, "", starting.id, found_late.id)
    ]
    assert [cell.where for cell in cells[:2]] == ["queue", "queue"]
    assert cells[4].where == f"{socket.gethostname()}, GPU 1"
    assert cells[4].row is not None and cells[4].row.name == "four"
    # Runner and command were killed together.
    changed(queue, starting, pid=2**22 + 1, process_start=1.0)
    assert view(queue).cells[3].state == "crashed"
    changed(queue, starting, state="finished")
    assert view(queue).cells[3].state == "new"


def test_jobs_of_slurm_are_as_the_study_told_last(
    queue: Queue, make_run: MakeRun
) -> None:
    make_run("far", state="remote", slurm_job="77")
    written(queue, ["far", None], on="slurm", state="waiting")
    [far, waits] = view(queue).cells
    assert (far.state, far.where) == ("remote", "job 77 on elsewhere")
    assert (waits.state, waits.where) == ("waiting", "SLURM")
    # On this machine the queue knows better.
    written(queue, ["far", None], state="waiting")
    assert view(queue).cells[1].state == "new"


def test_a_record_that_cannot_be_read_is_said_and_hides_nothing(
    queue: Queue, make_run: MakeRun
) -> None:
    make_run("one")
    folder = written(queue, ["one"])
    library = Library(queue.runs_dir)
    assert library.look(queue).studies[0].problem == ""
    (folder.path / "study.json").write_text("{")
    scan = library.look(queue)
    assert "Expected the record of a study" in scan.studies[0].problem
    assert scan.studies[0].state == "damaged"
    assert [row.name for row in scan.rows] == ["one"]
    (folder.path / "study.json").unlink()
    assert library.look(queue).studies == ()


@pytest.mark.parametrize(
    ("states", "state"),
    [
        ([], "new"),
        (["new", "new"], "new"),
        (["finished", "new"], "stopped"),
        (["finished", "finished"], "finished"),
        (["failed", "running"], "running"),
        (["failed", "waiting"], "waiting"),
        (["failed", "finished"], "failed"),
        (["crashed", "finished"], "crashed"),
        (["remote", "failed"], "remote"),
        (["stopped", "finished"], "stopped"),
    ],
)
def test_several_states_make_one(states: list[str], state: str) -> None:
    assert state_of(states) == state
