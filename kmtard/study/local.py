"""This machine as a place for runs, through the queue that the launcher also uses."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from kmtard.runs import Run, RunError
from kmtard.runs.files import read_regular
from kmtard.runs.queue.gpus import visible_gpus
from kmtard.runs.queue.queue import Entry, Queue
from kmtard.study.grid import Cell
from kmtard.study.place import ACTIVE, Order

PAUSE = 0.1  # seconds between two looks at an entry that has just ended
PATIENCE = 10.0  # seconds to wait until the runner records how an entry ended


class Local:
    """The queue of a folder of runs. Its runner continues without the study.

    Args:
        runs_dir: folder of the runs.
        jobs: number of runs at a time. None means one run per GPU if there are
            several GPUs, and the limit of the queue otherwise.
    """

    def __init__(self, runs_dir: Path, jobs: int | None = None) -> None:
        self.queue = Queue(runs_dir)
        self.jobs = jobs
        self._entries: list[Entry] = []
        self._is_working = False

    def look(self) -> None:
        """Read the queue. Restart a missing runner if cells were submitted."""
        deadline = time.monotonic() + PATIENCE
        while True:
            entries = self.queue.entries()
            self._entries = [each for each in entries if self.queue.is_own(each)]
            watched = self.queue.runner_alive() or self.queue.runner_begins()
            if self._is_working and not watched and any(map(_is_pending, entries)):
                self.queue.ensure_runner()
                watched = True
            # The runner records how an entry ended a moment after its process exits.
            late = watched and any(map(_has_died, self._entries))
            if not late or time.monotonic() > deadline:
                return
            time.sleep(PAUSE)

    def state(self, cell: Cell, run: Run | None) -> str:
        """Return the state of the cell's newest entry."""
        entry = self._entry(cell, run)
        if entry is None or entry.state not in (*ACTIVE, "failed", "cancelled"):
            return ""
        # If runner and run were killed together, no one recorded the end.
        if _has_died(entry):
            return ""
        return entry.state if entry.state in ACTIVE else entry.word

    def is_gone(self, run: Run) -> bool:
        """Return False, since only the other host can know."""
        del run
        return False

    def submit(self, orders: Sequence[Order]) -> None:
        """Append the cells to the queue."""
        self._is_working = True
        if not orders:
            return
        for order in orders:
            _refuse_several(order.cell)
        jobs = self.jobs
        if jobs is None and len(gpus := visible_gpus()) > 1:
            jobs = len(gpus)
        if jobs is not None:
            self.queue.limit = jobs
        for order in orders:
            cell, run = order.cell, order.run
            task = cell.task if run is None else cell.resume(run.path)
            path = None if run is None else run.path
            backend = cell.recipe.runtime.backend
            self.queue.add(task, cell.name, backend, run=path)
        self.queue.ensure_runner()

    def last_line(self, cell: Cell, run: Run | None) -> str:
        """Return the last line of the entry's log."""
        entry = self._entry(cell, run)
        with contextlib.suppress(OSError):
            if entry is not None:
                lines = read_regular(entry.log).decode(errors="replace").split("\n")
                return next((line for line in reversed(lines) if line.strip()), "")
        return ""

    def advice(self) -> str:
        """Say what continues and how to stop it."""
        return (
            "The queue continues without this command. Repeat the command to watch "
            "the runs and to get the table. `kmtard-launch` shows the queue and can "
            "stop runs."
        )

    def _entry(self, cell: Cell, run: Run | None) -> Entry | None:
        for entry in reversed(self._entries):
            if run is None or entry.run is None:
                is_of_cell = cell.task.is_same_work(entry.task)
            else:
                is_of_cell = Path(entry.run).absolute() == run.path.absolute()
            if is_of_cell:
                return entry
        return None


def _refuse_several(cell: Cell) -> None:
    """Refuse a run that the queue cannot give what it needs.

    Raises:
        RunError: it needs several processes, or several of this machine's GPUs.
    """
    runtime = cell.recipe.runtime
    if runtime.processes > 1:
        raise RunError(
            f"{cell.name} needs {runtime.processes} processes, and this queue starts "
            "one per run. Use --on slurm, or start each process with kmtard fit."
        )
    if runtime.devices != 1 and len(visible_gpus()) > 1:
        raise RunError(
            f"{cell.name} needs runtime.devices = {runtime.devices}, and this queue "
            "gives each run one GPU. Set runtime.devices = 1, use --on slurm, or start "
            "the run with kmtard fit."
        )


def _is_pending(entry: Entry) -> bool:
    return not entry.is_ended and not entry.is_elsewhere


def _has_died(entry: Entry) -> bool:
    """Return whether an entry's process ended but its end is not recorded yet."""
    return entry.state == "running" and not (entry.is_elsewhere or entry.is_alive)
