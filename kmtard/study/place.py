"""What a study asks of the place that its runs are given to."""

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
        run: the one to resume; None to begin anew.
        after: cells that train teachers which this one needs.
    """

    cell: Cell
    run: Run | None = None
    after: tuple[Cell, ...] = ()


class Place(Protocol):
    """Where runs are executed: a queue that goes on without the study."""

    def look(self) -> None:
        """Read what waits and runs.

        Raises:
            RunError: it cannot be read.
        """

    def state(self, cell: Cell, run: Run | None) -> str:
        """Return what became of a cell here, at the last look.

        Args:
            cell: the cell.
            run: its run, if there is one.

        Returns:
            "waiting", "running", "failed" or "cancelled"; empty where the run itself
            tells, or nothing is known.
        """

    def is_gone(self, run: Run) -> bool:
        """Return whether a run that another host owns has certainly ended."""

    def submit(self, orders: Sequence[Order]) -> None:
        """Take cells, in their order.

        Raises:
            RunError: it cannot take them.
        """

    def last_line(self, cell: Cell, run: Run | None) -> str:
        """Return the last line that a cell's process wrote; empty if unknown."""

    def advice(self) -> str:
        """Say how to watch and how to end what goes on without the study."""
