"""Show the progress of a training: a bar in a terminal, and a line per epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from rich.progress import Progress as Bar


class Progress(keras.callbacks.Callback):
    """Moves a Rich progress bar and reports each epoch in one line.

    The bar moves at the beginning of a batch. The results of a step are not read, so
    the device is never made to wait.

    Args:
        bar: a started `rich.progress.Progress`, or None without a terminal.
        line: called with each line of text.
        label: name of the network that is trained.
        epochs: epochs of the whole training.
        steps_per_epoch: batches in a complete epoch.
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
        """Add the bar in the first epoch, at the step that a run has reached."""
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
        """Report the epoch's loss, and its accuracies if it was evaluated."""
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
        """Remove the bar."""
        if self._task is not None and self.bar is not None:
            self.bar.remove_task(self._task)
