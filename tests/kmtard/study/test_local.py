"""The queue as a place for runs."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from kmtard.recipe.schema import Study
from kmtard.runs import RunError, list_runs
from kmtard.runs.queue.queue import Queue
from kmtard.runs.queue.task import Task
from kmtard.study.grid import Cell, cells_of
from kmtard.study.local import Local
from kmtard.study.place import Order
from tests.launcher.engine_fixtures import until

pytestmark = pytest.mark.once("jax")


def cell(recipe: str, method: str) -> Cell:
    [found] = cells_of(recipe, Study(methods=(method,)))
    return found


def state_of(place: Local, one: Cell) -> str:
    place.look()
    runs = list_runs("runs")
    return place.state(one, runs[0] if runs else None)


def test_a_cell_waits_runs_and_is_over(stand_in: Queue, recipe: str) -> None:
    place, one = Local(Path("runs")), cell(recipe, "trades")
    assert state_of(place, one) == ""
    place.submit([Order(one)])
    until(lambda: state_of(place, one) == "running")
    [entry] = stand_in.entries()
    assert (entry.title, entry.backend) == ("trades,s0", "tensorflow")
    until(lambda: list_runs("runs") and list_runs("runs")[0].info().get("pid"))
    # Before the first event, it may not handle signals yet.
    until(lambda: list(list_runs("runs")[0].events().poll()))
    stand_in.stop(entry.id)
    until(lambda: state_of(place, one) == "stopped")
    [run] = list_runs("runs")
    place.submit([Order(one, run)])
    until(lambda: run.state() == "finished")
    until(lambda: state_of(place, one) == "")
    assert [each.task for each in stand_in.entries()] == [
        one.task,
        Task.resume(run.path),
    ]


def test_a_cell_that_fails_without_a_run_shows_its_last_line(
    stand_in: Queue, recipe: str
) -> None:
    place, one = Local(Path("runs")), cell(recipe, "score")
    place.submit([Order(one)])
    until(lambda: state_of(place, one) == "failed")
    assert place.last_line(one, None) == "no such luck"
    assert not list_runs("runs")


@pytest.mark.parametrize(
    ("jobs", "gpus", "limit"), [(None, "", 3), (2, "0,1,2,3", 2), (None, "0,1", 2)]
)
def test_the_number_of_runs_at_a_time(
    stand_in: Queue,
    recipe: str,
    monkeypatch: pytest.MonkeyPatch,
    jobs: int | None,
    gpus: str,
    limit: int,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    monkeypatch.setattr(Queue, "ensure_runner", lambda self: None)
    stand_in.limit = 3
    Local(Path("runs"), jobs).submit([Order(cell(recipe, "natural"))])
    assert stand_in.limit == limit


def test_a_runner_that_died_is_started_again(
    stand_in: Queue, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, one = Local(Path("runs")), cell(recipe, "natural")
    with monkeypatch.context() as without:
        without.setattr(Queue, "ensure_runner", lambda self: None)
        place.submit([Order(one)])
    assert not stand_in.runner_alive()
    assert state_of(Local(Path("runs")), one) == "waiting"
    assert not stand_in.runner_alive(), "without a submit, no runner starts"
    until(lambda: state_of(place, one) == "" and list_runs("runs"))


def test_an_entry_that_was_killed_with_its_runner_has_no_state(
    stand_in: Queue, recipe: str
) -> None:
    place, one = Local(Path("runs")), cell(recipe, "natural")
    entry = stand_in.add(one.task, "a", "jax")
    with stand_in.change() as content:
        # The process with this number started at another time.
        owner = {"pid": os.getpid(), "process_start": 1.0}
        content.update(entry.id, state="running", host=socket.gethostname(), **owner)
    assert state_of(place, one) == ""
    place.submit([])
    assert state_of(place, one) == "", "the runner recorded that it has ended"
    assert stand_in.entries()[0].state == "unknown"


def test_another_users_entry_is_no_cell(stand_in: Queue, recipe: str) -> None:
    one = cell(recipe, "natural")
    entry = stand_in.add(one.task, "a", "jax")
    with stand_in.change() as content:
        content.update(entry.id, seal="0" * 64)
    assert state_of(Local(Path("runs")), one) == ""


def test_an_unusable_queue_is_reported(
    stand_in: Queue, recipe: str, tmp_path: Path
) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RunError, match="queue"):
        Local(Path("runs")).submit([Order(cell(recipe, "natural"))])
    (tmp_path / "runs").unlink()


def test_what_the_queue_cannot_give_is_refused(
    recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Local(Path("runs"))

    def order(*overrides: str) -> Order:
        words = ['runtime.backend="jax"', *overrides]
        [found] = cells_of(recipe, Study(), overrides=words)
        return Order(found)

    several = ("runtime.devices=2", "runtime.processes=2")
    with pytest.raises(RunError, match="needs 2 processes, and this queue starts one"):
        place.submit([order(*several)])
    monkeypatch.setattr("kmtard.study.local.visible_gpus", lambda: ["0", "1"])
    with pytest.raises(RunError, match="runtime.devices = 2, and this queue gives"):
        place.submit([order("runtime.devices=2")])
    assert not Queue(Path("runs")).entries()
