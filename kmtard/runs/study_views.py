"""The studies of a folder of runs: each cell with its run, its state and its place."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kmtard.runs.files import RunError
from kmtard.runs.queue.entry import Entry
from kmtard.runs.queue.task import Task, read_task
from kmtard.runs.studies import FOLDER, RECORD, StudyCell, StudyFolder, StudyRecord
from kmtard.runs.summary import DAMAGED, Summary

ACTIVE = ("running", "waiting")
FAILED = ("failed", "crashed", DAMAGED)
QUEUED = (*ACTIVE, *FAILED, "stopped")
"""The states of a cell that its entry in the queue tells where there is no run."""
NEW = "new"
"""The state of a cell that has not begun and does not wait."""


@dataclass(frozen=True)
class CellView:
    """One cell of a study as of now.

    Attributes:
        name: of the cell.
        method: its method.
        seed: its seed.
        setting: equal for cells that differ only in their seed.
        state: of its run, or "waiting", "stopped", "failed", and "new" before.
        where: what executes it, such as a host, a GPU, a job or the queue.
        row: its run; None before there is one.
        entry: id of its entry in the queue that waits or runs; empty without.
    """

    name: str
    method: str
    seed: int
    setting: str
    state: str
    where: str = ""
    row: Summary | None = None
    entry: str = ""


@dataclass(frozen=True)
class StudyView:
    """A study as of now.

    Attributes:
        folder: its folder.
        created: time when its folder was made, in UNIX seconds.
        cells: its cells, in its own order.
        problem: why its record cannot be read; empty if it can.
    """

    folder: StudyFolder
    created: float = 0.0
    cells: tuple[CellView, ...] = ()
    problem: str = ""

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.folder.path.name

    @property
    def state(self) -> str:
        """The state of all cells together."""
        return DAMAGED if self.problem else state_of(each.state for each in self.cells)


def state_of(states: Iterable[str]) -> str:
    """Return one state for several runs.

    Example:
        >>> state_of(["finished", "running"]), state_of(["finished", "stopped"])
        ('running', 'stopped')
    """
    known = list(states)
    for state in (*ACTIVE, "remote", *FAILED):
        if state in known:
            return state
    if set(known) == {"finished"}:
        return "finished"
    return "stopped" if set(known) - {NEW} else NEW


class StudyLibrary:
    """Reads the studies beside runs; an unchanged record is not read again.

    Args:
        runs_dir: folder of the runs.
    """

    def __init__(self, runs_dir: Path) -> None:
        self.folder = runs_dir / FOLDER
        self._known: dict[str, _Known] = {}

    def look(
        self, rows: Sequence[Summary], entries: Sequence[Entry]
    ) -> tuple[StudyView, ...]:
        """Return the studies, newest first.

        Args:
            rows: the runs of the folder.
            entries: those of its queue.
        """
        names: list[str] = []
        with suppress(OSError):
            names = sorted(os.listdir(self.folder))
        known = {}
        for name in names:
            folder = StudyFolder(self.folder / name)
            if name[0] != "." and os.path.lexists(folder.path / RECORD):
                known[name] = _read(folder, self._known.get(name))
        self._known = known
        by_name = {row.name: row for row in rows}
        queue = _Queued(entries)
        views = [_view(each, by_name, queue) for each in known.values()]
        return tuple(sorted(views, key=lambda view: -view.created))


@dataclass(frozen=True)
class _Known:
    folder: StudyFolder
    stamp: tuple[int, int] | None
    created: float
    record: StudyRecord | None
    tasks: tuple[Task | None, ...]
    problem: str


def _read(folder: StudyFolder, known: _Known | None) -> _Known:
    stamp = None
    created = known.created if known else 0.0
    with suppress(OSError):
        status = os.stat(folder.path / RECORD)
        stamp = status.st_mtime_ns, status.st_ino
        # The record is replaced when a run begins: it would jump in the list.
        created = created or status.st_mtime
    if known and stamp is not None and known.stamp == stamp:
        return known
    try:
        record = folder.read()
    except RunError as error:
        return _Known(folder, stamp, created, None, (), str(error))
    tasks = tuple(_task(cell) for cell in record.cells)
    return _Known(folder, stamp, created, record, tasks, "")


def _task(cell: StudyCell) -> Task | None:
    try:
        return _bare(read_task(dict(cell.task)))
    except ValueError:
        return None


class _Queued:
    """The newest entry of each task and of each run."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._by_task: dict[Task, Entry] = {}
        self._by_run: dict[str, Entry] = {}
        for entry in entries:
            # Until it has a run, the task identifies the entry.
            if entry.task is not None:
                self._by_task[_bare(entry.task)] = entry
            if entry.run is not None:
                self._by_run[os.path.abspath(entry.run)] = entry

    def find(self, task: Task | None, run: Path | None) -> Entry | None:
        if run is not None and (found := self._by_run.get(os.path.abspath(run))):
            return found
        return self._by_task.get(task) if task is not None else None


def _bare(task: Task) -> Task:
    """Return what a task does, without what it is allowed."""
    return task.with_grants_of(Task.resume("."))


def _view(known: _Known, rows: Mapping[str, Summary], queue: _Queued) -> StudyView:
    if known.record is None:
        return StudyView(known.folder, known.created, problem=known.problem)
    place = known.record.task.on if known.record.task else "local"
    cells = []
    for cell, task in zip(known.record.cells, known.tasks, strict=True):
        row = rows.get(cell.run) if cell.run else None
        entry = queue.find(task, row.run.path if row else None)
        # The study may not have seen yet which run its cell has.
        if row is None and entry is not None and entry.run is not None:
            row = rows.get(Path(entry.run).name)
        cells.append(_cell(cell, row, entry, place))
    return StudyView(known.folder, known.created, tuple(cells))


def _cell(
    cell: StudyCell, row: Summary | None, entry: Entry | None, place: str
) -> CellView:
    pending = entry is not None and not entry.is_ended
    if row is not None:
        is_queued = entry is not None and entry.state == "waiting"
        state = "waiting" if is_queued and row.state != "running" else row.state
    elif entry is not None:
        # Its process was killed together with the runner that would have noted it.
        dead = entry.state == "running" and not (entry.is_elsewhere or entry.is_alive)
        state = entry.state if pending else entry.word
        state = "crashed" if dead else state
        # The run that it was finished with has been deleted or renamed.
        state = state if state in QUEUED else NEW
    else:
        state = cell.state if place == "slurm" and cell.state in ACTIVE else NEW
    return CellView(
        name=cell.name,
        method=cell.method,
        seed=cell.seed,
        setting=cell.key.rpartition("-s")[0],
        state=state,
        where=_where(state, row, entry, place),
        row=row,
        entry=entry.id if entry is not None and pending else "",
    )


def _where(state: str, row: Summary | None, entry: Entry | None, place: str) -> str:
    if state == "waiting":
        return "SLURM" if place == "slurm" else "queue"
    if row is None:
        return (entry.host or "") if entry is not None else ""
    if state == "running" and entry is not None and entry.gpu is not None:
        return f"{row.where}, GPU {entry.gpu}"
    return row.where
