"""What the command shows while it works: bars on a terminal, lines elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from kmtard.evaluation.tables import percent
from kmtard.training.stopping import StopSignal

if TYPE_CHECKING:
    from kmtard.evaluation.judging import Step


class Display:
    """Shows the steps of an evaluation, and ends it when a signal has come.

    Args:
        screen: where to; bars are drawn only on a terminal.
        stop: the signals.
    """

    def __init__(self, screen: Console, stop: StopSignal) -> None:
        self._screen, self._stop = screen, stop
        self._tasks: dict[str, TaskID] = {}
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}  {task.fields[accuracy]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=screen,
            transient=True,
            disable=not screen.is_terminal,
        )

    def __call__(self, step: Step) -> None:
        """Show a step.

        Raises:
            Stopped: a signal has come.
        """
        accuracy = "" if step.accuracy is None else f"{percent(step.accuracy)} %"
        place = f"{step.attack} ({step.number}/{step.attacks})"
        if step.attack not in self._tasks:
            task = self.bars.add_task(place, total=step.images, accuracy=accuracy)
            self._tasks[step.attack] = task
        task = self._tasks[step.attack]
        self.bars.update(task, completed=step.done, accuracy=accuracy)
        if step.note:
            self._line(f"{place}: {step.note}")
        if step.done == step.images:
            self.bars.update(task, visible=False)
            self._line(f"{place}: {accuracy or '0.00 %'} of all images left right")
        self._stop.check()

    def _line(self, text: str) -> None:
        self._screen.out(text, highlight=False)
