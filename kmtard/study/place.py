"""The interface of a place that executes the runs of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kmtard.runs import Run
from kmtard.study.grid import Cell

ACTIVE = ("waiting", "running")


@dataclass(frozen=True)
class Order:
    """A cell to execute.

    Attributes:
        cell: the cell.
        run: the run to resume; None to start a new run.
        after: cells that train the teachers of this cell, and must end first.
    """

    cell: Cell
    run: Run | None = None
    after: tuple[Cell, ...] = ()


class Place(Protocol):
    """A queue that executes runs and continues without the study."""

    def look(self) -> None:
        """Read which cells wait or run.

        Raises:
            RunError: the place cannot be read.
        """

    def state(self, cell: Cell, run: Run | None) -> str:
        """Return the state of a cell at the last look.

        Args:
            cell: the cell.
            run: its run, or None.

        Returns:
            "waiting", "running", "failed" or "stopped"; empty if the place does not
            know the cell, or if only the run's own folder has its state.
        """

    def is_gone(self, run: Run) -> bool:
        """Return whether a run that another host owns has certainly ended."""

    def submit(self, orders: Sequence[Order]) -> None:
        """Submit cells in the given order.

        Raises:
            RunError: a cell cannot be submitted.
        """

    def last_line(self, cell: Cell, run: Run | None) -> str:
        """Return the last line that a cell's process wrote; empty if unknown."""

    def advice(self) -> str:
        """Say how to watch and how to stop the runs after the study was interrupted."""
