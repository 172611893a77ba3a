"""Starting and stopping studies, without a screen."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kmtard.runs import RunError
from kmtard.runs.library import Library
from kmtard.runs.queue.queue import Queue
from kmtard.runs.study_task import StudyTask
from kmtard.runs.study_views import StudyView
from launcher.runs import study_control
from launcher.runs.run_rules import OFFERED
from launcher.runs.study_control import (
    NOT_OFFERED,
    start_study,
    stop_study,
    unavailable_for,
)
from tests.launcher.engine_fixtures import start_run
from tests.launcher.studies_fixtures import (
    MakeStudy,
    cell_task,
    evaluated,
    make_run,
    make_study,
)

__all__ = ["evaluated", "make_run", "make_study"]
pytestmark = pytest.mark.once("torch")


def view(runs_dir: Path) -> StudyView:
    [found] = Library(runs_dir).look(Queue(runs_dir)).studies
    return found


def test_a_study_goes_on_by_itself_and_leaves_a_log(
    make_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_study([("sat", 0, None)])
    script = "import os; print(os.getcwd(), os.getsid(0) == os.getpid())"
    command = [sys.executable, "-c", script]
    monkeypatch.setattr(StudyTask, "command", lambda self: command)
    process = start_study(StudyTask(recipe="a.toml"), folder, tmp_path)
    assert process.wait(30) == 0
    assert folder.log_path.read_text() == f"{tmp_path} True\n"
    with pytest.raises(RunError, match="Cannot start the study a-table3-1234 in /no"):
        start_study(StudyTask(recipe="a.toml"), folder, "/nowhere")
    # A log that leads elsewhere is not written.
    folder.log_path.unlink()
    folder.log_path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="Cannot start"):
        start_study(StudyTask(recipe="a.toml"), folder, tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_stopping_takes_out_what_waits_and_ends_what_runs(
    make_study: MakeStudy, make_run: object, tmp_path: Path
) -> None:
    runs_dir = tmp_path / "runs"
    run, process = start_run(runs_dir, "one")
    far = make_run("far", state="remote")  # type: ignore[operator]
    queue = Queue(runs_dir)
    make_study([("sat", 0, run.path), ("sat", 1, None), ("ard", 0, far.path)])
    queue.add(cell_task("sat", 1), "sat,s1", "jax")
    other = queue.add(cell_task("trades", 1), "trades,s1", "jax")
    assert view(runs_dir).state == "running"
    [problem] = stop_study(view(runs_dir), queue)
    assert "ard,s0" in problem and "elsewhere" in problem
    assert process.wait(30) == 0
    assert run.state() == "stopped"
    assert queue.entries() == [other]
    states = [cell.state for cell in view(runs_dir).cells]
    assert states == ["stopped", "new", "remote"]


def test_a_second_stop_kills(make_study: MakeStudy, tmp_path: Path) -> None:
    run, process = start_run(tmp_path / "runs", "one", "deaf")
    make_study([("sat", 0, run.path)])
    queue = Queue(tmp_path / "runs")
    assert stop_study(view(tmp_path / "runs"), queue, kill=True) == []
    assert process.wait(30) < 0
    assert run.state() == "crashed"


def test_a_run_of_the_queue_is_ended_through_it(
    make_study: MakeStudy, tmp_path: Path
) -> None:
    run, process = start_run(tmp_path / "runs", "one")
    queue = Queue(tmp_path / "runs")
    entry = queue.add(cell_task("sat", 0), "sat,s0", "jax")
    info = run.info()
    with queue.change() as content:
        content.update(
            entry.id,
            state="running",
            pid=info["pid"],
            process_start=info["process_start"],
            host=info["host"],
            run=str(run.path),
        )
    make_study([("sat", 0, run.path)])
    assert stop_study(view(tmp_path / "runs"), queue) == []
    assert process.wait(30) == 0
    # The queue knows that it was asked, and notes it as cancelled.
    assert queue.entries()[0].stopping


def test_only_what_its_cells_allow_is_offered(
    make_study: MakeStudy, make_run: object, tmp_path: Path
) -> None:
    run = make_run("one")  # type: ignore[operator]
    folder = make_study([("sat", 0, run.path)])
    found = view(tmp_path / "runs")
    assert "nothing" in unavailable_for(found, "stop_run")
    assert "nothing" in unavailable_for(found, "resume_run")
    assert unavailable_for(found, "report_run") == ""
    for action in OFFERED.keys() - study_control.RULES.keys():
        assert unavailable_for(found, action) == NOT_OFFERED
    make_study([("sat", 0, run.path), ("sat", 1, None)])
    assert unavailable_for(view(tmp_path / "runs"), "resume_run") == ""
    (folder.path / "study.json").write_text("")
    damaged = view(tmp_path / "runs")
    assert "cannot be read" in unavailable_for(damaged, "resume_run")
