"""Base class of the callbacks that update a state per class after each epoch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops


class ClassCallback(keras.callbacks.Callback):
    """Base of callbacks that update a method's `class_state` after each epoch.

    A subclass defines `update`, which is called after each complete epoch. Then the
    sums are reset to zero. The smallest and the largest value of each state are added
    to the epoch's logs as `NAME_min` and `NAME_max`; the event log of a run has the
    values of all classes.

    Attributes:
        steps_per_epoch: number of batches of a complete epoch, for runs that may stop
            within an epoch; an incomplete epoch does not update the state. None if
            every epoch is complete.
    """

    steps_per_epoch: int | None = None

    def update(self, epoch: int) -> None:
        """Compute the model's new state from its sums.

        Args:
            epoch: the epoch that has ended, counted from 0.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `update`.")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Update the state, reset the sums and add the state to the logs."""
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
        """Check that the model has a state of this name.

        The variable itself may not exist yet: it is created when the first batch builds
        the networks.

        Raises:
            TypeError: the method's `class_state` does not contain the name.
        """
        if name not in getattr(self.model, "class_state", ()):
            raise TypeError(
                f"{type(self).__name__} updates the model's `{name}`. Received: a "
                f"model of type {type(self.model).__name__}, which has none."
            )

    def values(self, name: str) -> np.ndarray:
        """Return a (classes,) variable of the model as a NumPy array."""
        return ops.convert_to_numpy(getattr(self.model, name).value)
