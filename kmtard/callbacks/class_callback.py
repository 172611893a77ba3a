"""What turns the sums of an epoch into a state for each class."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops


class ClassCallback(keras.callbacks.Callback):
    """Base of callbacks that move a method's `class_state` after each epoch.

    A subclass defines `update`, called when an epoch is whole; the sums are cleared
    afterwards, and least and largest value of each state go into the epoch's logs as
    `NAME_min` and `NAME_max`. The numbers of all classes are in the event log.

    Attributes:
        steps_per_epoch: batches of a whole epoch, for runs that may stop within one:
            the state then waits for the end of the epoch that goes on. None when every
            epoch that ends is whole.
    """

    steps_per_epoch: int | None = None

    def update(self, epoch: int) -> None:
        """Move the model's state by its sums; `epoch`, counted from 0, has ended."""
        raise NotImplementedError(f"{type(self).__name__} must define `update`.")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Update, clear the sums and log."""
        steps = self.steps_per_epoch
        if steps is None or int(self.model.steps_taken.value) % steps == 0:
            self.update(epoch)
            for name in self.model.class_sums:
                sums = getattr(self.model, name)
                sums.assign(ops.zeros_like(sums.value))
        if logs is not None:
            for name in self.model.class_state:
                values = self.values(name)
                logs[f"{name}_min"] = float(values.min())
                logs[f"{name}_max"] = float(values.max())

    def require_state(self, name: str) -> None:
        """Refuse a model that has no such state.

        Its variable may be made only when the first batch builds the networks.

        Raises:
            TypeError: the method's `class_state` does not name it.
        """
        if name not in getattr(self.model, "class_state", ()):
            raise TypeError(
                f"{type(self).__name__} moves the model's `{name}`. Received: a model "
                f"of type {type(self.model).__name__}, which has none."
            )

    def values(self, name: str) -> np.ndarray:
        """Return a (classes,) variable of the model."""
        return ops.convert_to_numpy(getattr(self.model, name).value)
