"""What is left to do, from the newest run of each cell and from its place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from kmtard.recipe.schema import Study
from kmtard.runs import EventWriter, Run
from kmtard.study.grid import Cell, cells_of
from kmtard.study.place import Order
from kmtard.study.progress import (
    Finder,
    Progress,
    Status,
    missing_teachers,
    orders_of,
)

pytestmark = pytest.mark.once("jax")


class Elsewhere:
    """A place with the answers that a test gives it."""

    def __init__(self, state: str = "", *, gone: bool = False) -> None:
        self.answer, self.gone = state, gone

    def look(self) -> None: ...

    def state(self, cell: Cell, run: Run | None) -> str:
        return self.answer

    def is_gone(self, run: Run) -> bool:
        return self.gone

    def submit(self, orders: Sequence[Order]) -> None: ...

    def last_line(self, cell: Cell, run: Run | None) -> str:
        return "its last line"

    def advice(self) -> str:
        return ""


def cells(recipe: str, *methods: str, seeds: tuple[int, ...] = (0,)) -> list[Cell]:
    return cells_of(recipe, Study(methods=methods, seeds=seeds))


def run_of(cell: Cell, *events: str, **info: object) -> Run:
    run = Run.create("runs", "a", cell.recipe.to_toml(), {})
    for event in events:
        EventWriter(run.events_path).write(event, reason="no luck")
    run.info_path.write_text(json.dumps({**run.info(), **info}))
    return run


def look(cell: Cell, place: Elsewhere) -> Status:
    [status] = Progress([cell], Finder(Path("runs")), place).look()
    return status


@pytest.mark.parametrize(
    ("events", "info", "here", "state", "reason"),
    [
        (["run_finished"], {}, "", "finished", ""),
        (["run_finished"], {}, "failed", "finished", ""),
        (["run_stopped"], {}, "", "stopped", ""),
        (["run_stopped"], {}, "waiting", "waiting", ""),
        (["run_failed"], {}, "", "failed", "no luck"),
        (["run_started"], {}, "", "running", ""),
        (["run_started"], {"process_start": 1.0}, "", "crashed", ""),
        (["run_started"], {"process_start": 1.0}, "failed", "failed", "last line"),
        (["run_started"], {"host": "other"}, "", "remote", ""),
        (["run_started"], {"host": "other"}, "running", "running", ""),
    ],
)
def test_states(
    recipe: str,
    events: list[str],
    info: dict[str, object],
    here: str,
    state: str,
    reason: str,
) -> None:
    [cell] = cells(recipe, "natural")
    run_of(cell, *events, **info)
    status = look(cell, Elsewhere(here))
    assert status.state == state
    assert reason in status.reason


def test_without_a_run_it_is_new(recipe: str) -> None:
    [cell] = cells(recipe, "natural")
    assert look(cell, Elsewhere()).state == "new"
    failed = look(cell, Elsewhere("failed"))
    assert (failed.state, failed.reason) == ("failed", "its last line")


def test_a_remote_run_that_is_gone_has_crashed(recipe: str) -> None:
    [cell] = cells(recipe, "natural")
    run_of(cell, "run_started", host="other")
    assert look(cell, Elsewhere(gone=True)).state == "crashed"


def test_the_newest_run_of_equal_settings_and_seed_counts(recipe: str) -> None:
    first, second = cells(recipe, "natural", seeds=(0, 1))
    old = run_of(first, "run_finished", created=1.0)
    new = run_of(first, "run_failed", created=2.0)
    other = run_of(second, "run_finished", created=3.0)
    Run.create("runs", "damaged", "no TOML", {})
    finder = Finder(Path("runs"))
    found = finder.newest()
    assert found[first.key].name == new.name
    assert found[second.key].name == other.name
    assert Finder(Path("runs"), {new.name}).newest()[first.key].name == old.name


def test_teachers_are_trained_once_and_waiting_cells_come_last(
    recipe: str,
) -> None:
    found = cells(recipe, "rslad", "natural", "b_mtard", "mtard")
    orders = orders_of([Status(cell, "new") for cell in found])
    names = [order.cell.parts[0] for order in orders]
    assert names == ["b_mtard", "natural", "rslad", "mtard"]
    after = {o.cell.parts[0]: [c.parts[0] for c in o.after] for o in orders}
    assert after == {
        "b_mtard": [],
        "natural": [],
        "rslad": ["b_mtard"],
        "mtard": ["b_mtard"],
    }


def test_a_running_cell_trains_the_teachers(recipe: str) -> None:
    rslad, mtard = cells(recipe, "rslad", "mtard")
    statuses = [Status(mtard, "new"), Status(rslad, "running")]
    [order] = orders_of(statuses)
    # The new cell trains the clean teacher itself, and waits for the robust one.
    assert (order.cell, order.after) == (mtard, (rslad,))


def test_no_cell_waits_for_existing_teachers(recipe: str) -> None:
    found = cells(recipe, "rslad", "mtard")
    for file in missing_teachers(found[1]):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    orders = orders_of([Status(cell, "new") for cell in found])
    assert [order.after for order in orders] == [(), ()]
    assert missing_teachers(found[0]) == []


def test_interrupted_runs_are_resumed_and_settled_ones_are_not(recipe: str) -> None:
    [cell] = cells(recipe, "natural")
    run = run_of(cell, "run_failed")
    for state in ("stopped", "failed", "crashed", "unknown"):
        assert orders_of([Status(cell, state, run)]) == [Order(cell, run)]
    assert orders_of([Status(cell, "failed")]) == [Order(cell)]
    for state in ("finished", "waiting", "running", "remote"):
        assert orders_of([Status(cell, state, run)]) == []
