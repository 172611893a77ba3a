"""Run a study: submit its cells to a place, watch them, and write their table."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from kmtard.runs import Run
from kmtard.runs.groups import Group
from kmtard.runs.studies import (
    StudyCell,
    StudyFolder,
    StudyRecord,
    collect_finished,
)
from kmtard.runs.study_task import StudyTask
from kmtard.study.grid import Cell
from kmtard.study.place import Place
from kmtard.study.progress import Finder, Progress, Status, orders_of

PAUSE = 1.0  # seconds between two looks
LONGEST_PAUSE = 10.0  # seconds, if nothing changes for a long time


@dataclass
class Conductor:
    """Run a study and report its progress.

    Args:
        name: name of the study.
        every: all cells of the study.
        cells: the cells to execute, some or all of `every`.
        place: the place that executes the cells.
        line: called with each line of text for the user.
        ignored: names of runs to ignore, because their cells are trained again.
        task: the command of the study, which the record keeps to resume it later.
    """

    name: str
    every: Sequence[Cell]
    cells: Sequence[Cell]
    place: Place
    line: Callable[[str], None]
    ignored: Collection[str] = ()
    task: StudyTask | None = None

    def __post_init__(self) -> None:
        runs_dir = Path(self.every[0].recipe.runtime.runs_dir)
        self.folder = StudyFolder.beside(runs_dir, self.name)
        self._finder = Finder(runs_dir, self.ignored)
        self._progress = Progress(self.cells, self._finder, self.place)
        self._record: StudyRecord | None = None
        self._cwd = os.getcwd()
        self._seal: str | None = None

    def look(self) -> list[Status]:
        """Return the current state of each cell.

        Raises:
            RunError: the place cannot be read.
        """
        return self._progress.look()

    def execute(self) -> list[Status]:
        """Start or resume the unfinished cells, and wait until all have ended.

        Raises:
            RunError: the place cannot be used, or a file cannot be written.
        """
        # Two calls at the same time must start each run only once.
        with self.folder.alone():
            statuses = self.look()
            self.place.submit(orders_of(statuses))
        told: dict[str, str] = {each.cell.key: each.state for each in statuses}
        pause = PAUSE
        while True:
            statuses = self.look()
            self.record(statuses)
            changed = [each for each in statuses if told[each.cell.key] != each.state]
            for each in changed:
                # A preempted job waits again, which is news. Other waits are not.
                if each.state != "waiting" or told[each.cell.key] == "running":
                    self._tell(each, statuses)
                told[each.cell.key] = each.state
            if not any(each.is_active for each in statuses):
                return statuses
            pause = PAUSE if changed else min(LONGEST_PAUSE, 1.2 * pause)
            time.sleep(pause)

    def finished(self) -> list[tuple[Cell, Run]]:
        """Return the finished cells of the whole study, with their newest runs."""
        # Ignored runs count here too: they show how long a run takes.
        runs = Finder(self._finder.runs_dir).newest()
        pairs = [(cell, runs[cell.key]) for cell in self.every if cell.key in runs]
        return [(cell, run) for cell, run in pairs if run.state() == "finished"]

    def gather(self) -> tuple[list[Group], list[str]]:
        """Write the tables; return the groups of finished runs, and any problems.

        Raises:
            RunError: the tables cannot be written.
        """
        runs = self._finder.newest()
        keys = [cell.key for cell in self.every]
        groups, problems = collect_finished([runs[k].path for k in keys if k in runs])
        if groups:
            self.folder.write_tables(groups)
        return groups, problems

    def record(self, statuses: Sequence[Status]) -> None:
        """Write which runs the cells have, and what the user asked for.

        Raises:
            RunError: the record cannot be written.
        """
        if self.task is not None and self._seal is None:
            self._seal = self.folder.sealed(self.task, self._cwd)
        runs = {each.cell.key: each.run for each in statuses}
        states = {each.cell.key: each.state for each in statuses}
        if len(self.every) > len(self.cells):
            runs = {**self._finder.newest(), **runs}
        cells = [
            StudyCell(
                name=cell.name,
                method=cell.recipe.method.name,
                seed=cell.recipe.runtime.seed,
                key=cell.key,
                run=run.name if (run := runs.get(cell.key)) else None,
                state=states.get(cell.key, ""),
                task=cell.task.as_json(),
            )
            for cell in self.every
        ]
        record = StudyRecord(
            name=self.name,
            recipe=self.every[0].path,
            cells=cells,
            task=self.task,
            cwd=self._cwd,
            seal=self._seal,
        )
        if record != self._record:
            self.folder.write(record)
            self._record = record

    def _tell(self, status: Status, statuses: Sequence[Status]) -> None:
        where = f"  {status.run.path}" if status.run else ""
        if status.reason:
            where += f"  {status.reason}"
        counts = Counter(each.state for each in statuses)
        done = f"{counts['finished']} of {len(statuses)} finished"
        self.line(f"{status.cell.name}: {status.state}{where}  ({done})")


def runs_of(cells: Sequence[Cell], runs_dir: Path) -> frozenset[str]:
    """Return the names of all runs of the cells."""
    keys = {cell.key for cell in cells}
    finder = Finder(runs_dir)
    return frozenset(run.name for key, run in finder.all() if key in keys)


def study_name(recipe: str, name: str, cells: Sequence[Cell]) -> str:
    """Return the name of a study's folder.

    Args:
        recipe: the recipe's file.
        name: name of the study, such as "table3"; "study" for the recipe's own study.
        cells: all cells of the study. Equal cells give an equal name.

    Example:
        >>> study_name("recipes/digits.toml", "table3", [])
        'digits-table3-e3b0'
    """
    keys = " ".join(sorted(cell.key for cell in cells))
    digits = hashlib.sha256(keys.encode()).hexdigest()[:4]
    return f"{Path(recipe).stem}-{name}-{digits}"
