"""Find what is left to do in a study, from its run folders and its place."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kmtard.recipe import RecipeError, load
from kmtard.runs import Run, list_runs
from kmtard.runs.history import History
from kmtard.study.grid import Cell, run_key
from kmtard.study.place import ACTIVE, Order, Place
from kmtard.training.teachers import cached_weights, needed_teachers

SETTLED = ("finished", "remote", *ACTIVE)
"""The states of cells that need not be started or resumed."""


@dataclass(frozen=True)
class Status:
    """The current state of a cell.

    Attributes:
        cell: the cell.
        state: a state of `Run.state`, or "waiting", or "new" without a run.
        run: the newest run of the cell, or None.
        reason: why it failed; empty in other states.
    """

    cell: Cell
    state: str
    run: Run | None = None
    reason: str = ""

    @property
    def is_active(self) -> bool:
        """Whether the cell is waiting or running."""
        return self.state in ACTIVE


class Finder:
    """Find the runs of cells by their settings and seed.

    Args:
        runs_dir: folder of the runs.
        ignored: names of runs to ignore.
    """

    def __init__(self, runs_dir: Path, ignored: Collection[str] = ()) -> None:
        self.runs_dir = runs_dir
        self.ignored = ignored
        self._keys: dict[str, str] = {}
        self._runs: dict[str, Run] = {}

    def newest(self) -> dict[str, Run]:
        """Return the newest run of each key."""
        found: dict[str, Run] = {}
        for key, run in self.all():
            found.setdefault(key, run)
        return found

    def all(self) -> Iterator[tuple[str, Run]]:
        """Yield each run with its key, newest first."""
        for run in list_runs(self.runs_dir):
            if run.name not in self.ignored:
                # A run that is known already reads only what is new in its files.
                yield self._key(run), self._runs.setdefault(run.name, run)

    def _key(self, run: Run) -> str:
        # The recipe of a run never changes.
        if run.name not in self._keys:
            try:
                self._keys[run.name] = run_key(load(run.recipe_path))
            except RecipeError:
                self._keys[run.name] = ""
        return self._keys[run.name]


@dataclass
class Progress:
    """The cells of a study and their states.

    Args:
        cells: the cells to execute.
        finder: finds the runs of the cells.
        place: the place that executes the cells.
    """

    cells: Sequence[Cell]
    finder: Finder
    place: Place

    def look(self) -> list[Status]:
        """Return the current state of each cell.

        Raises:
            RunError: the place cannot be read.
        """
        self.place.look()
        runs = self.finder.newest()
        return [self._status(cell, runs.get(cell.key)) for cell in self.cells]

    def _status(self, cell: Cell, run: Run | None) -> Status:
        here = self.place.state(cell, run)
        state = here if run is None or here in ACTIVE else run.state()
        if state == "remote" and run is not None and self.place.is_gone(run):
            state = "crashed"
        if here in ("failed", "stopped") and state not in ("finished", *ACTIVE):
            state = here
        if state != "failed":
            return Status(cell, state or "new", run)
        reason = _reason(run) or self.place.last_line(cell, run)
        return Status(cell, state, run, reason or "the reason is unknown")


def _reason(run: Run | None) -> str:
    if run is None:
        return ""
    history = History(run, in_detail=False)
    history.poll()
    return history.reason or ""


def orders_of(statuses: Iterable[Status]) -> list[Order]:
    """Return the cells to start or resume, in an order that trains each teacher once.

    The cells that train teachers come first, then those that need no missing teacher,
    and last those that wait for a teacher.

    Args:
        statuses: the state of each cell. Those that wait or run may already train
            teachers.
    """
    statuses = list(statuses)
    trainers: dict[Path, Cell] = {}
    missing = {each.cell.key: missing_teachers(each.cell) for each in statuses}
    # Active cells come first, then those that train the most teachers.
    for each in sorted(
        statuses,
        key=lambda each: (not each.is_active, -len(missing[each.cell.key])),
    ):
        if each.is_active or each.state not in SETTLED:
            for file in missing[each.cell.key]:
                trainers.setdefault(file, each.cell)
    orders = []
    for each in statuses:
        if each.state in SETTLED:
            continue
        files = missing[each.cell.key]
        after = {trainers[file].key: trainers[file] for file in files}
        after.pop(each.cell.key, None)
        is_resumed = each.state != "new" and each.run is not None
        run = each.run if is_resumed else None
        orders.append(Order(each.cell, run, tuple(after.values())))
    trains = {cell.key for cell in trainers.values()}
    return sorted(
        orders, key=lambda order: (order.cell.key not in trains, bool(order.after))
    )


def missing_teachers(cell: Cell) -> list[Path]:
    """Return the missing files of the teachers that a cell needs and can train."""
    recipe = cell.recipe
    roles = [each for each in needed_teachers(recipe) if getattr(recipe, each).train]
    files = [cached_weights(recipe, role) for role in roles]
    return [file for file in files if not file.exists()]
