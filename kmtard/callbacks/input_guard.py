"""Stop at the end of an epoch whose images were not in [0, 1]."""

from __future__ import annotations

from typing import Any

import keras


class InputGuard(keras.callbacks.Callback):
    """Raise when the steps of the epoch met pixels outside [0, 1] or not finite.

    The steps only count, so that nothing waits for the device; `fit` adds this.
    """

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Forget what an earlier epoch or `fit` met."""
        del epoch, logs
        self.model.invalid_inputs.assign(0.0)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Read the count of the epoch."""
        del logs
        count = float(self.model.invalid_inputs.value)
        if count:
            raise ValueError(
                "Images must be finite and lie in [0, 1]. Received: "
                f"{count:.0f} pixels outside or NaN in epoch {epoch + 1}. "
                "Scale the data (x / 255 for 8-bit images) and look for damaged files; "
                "the weights of this epoch are not to be trusted."
            )
