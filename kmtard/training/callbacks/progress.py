"""Show the training of one network: a bar in a terminal, lines anywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from rich.progress import Progress as Bar


class Progress(keras.callbacks.Callback):
    """Move a rich progress bar and say each epoch in a line.

    Only the beginning of a batch is looked at: what a step computed stays on the
    device.

    Args:
        bar: a started `rich.progress.Progress`, or None where no terminal is.
        line: called with each line of text.
        label: what is being trained.
        epochs: of the whole training.
        steps_per_epoch: batches of a whole epoch.
    """

    def __init__(
        self,
        bar: Bar | None,
        line: Callable[[str], None],
        label: str,
        epochs: int,
        steps_per_epoch: int,
    ) -> None:
        super().__init__()
        self.bar = bar
        self.line = line
        self.label = label
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self._task: Any = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add the bar at the first epoch, at the place a resumed run has reached."""
        del logs
        if self.bar is None:
            return
        done = int(self.model.steps_taken.value)
        if self._task is None:
            total = self.epochs * self.steps_per_epoch
            self._task = self.bar.add_task(self.label, total=total, completed=done)
        self.bar.update(
            self._task, description=f"{self.label}, epoch {epoch + 1}/{self.epochs}"
        )
        self._first = done

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Move the bar."""
        del logs
        if self.bar is not None:
            self.bar.update(self._task, completed=self._first + batch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Say the epoch's loss, and its accuracies if it was evaluated."""
        if int(self.model.steps_taken.value) % self.steps_per_epoch:
            return
        logs = logs or {}
        text = f"{self.label}  epoch {epoch + 1:>3}/{self.epochs}"
        text += f"  loss {logs.get('loss', float('nan')):.4f}"
        for name, short in (
            ("val_clean_accuracy", "clean"),
            ("val_robust_accuracy", "robust"),
            ("val_w_robust_accuracy", "W-Robust"),
        ):
            if name in logs:
                text += f"  {short} {100 * logs[name]:.2f} %"
        self.line(text)

    def close(self) -> None:
        """Take the bar away."""
        if self._task is not None and self.bar is not None:
            self.bar.remove_task(self._task)
