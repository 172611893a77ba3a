"""Set the current epoch in the input pipeline."""

from __future__ import annotations

from typing import Any

import keras


class DataEpoch(keras.callbacks.Callback):
    """Sets `stream.epoch`, on which the order and augmentation of the images depend.

    Args:
        stream: a `kmtard.data.pipeline.TrainingStream`, or another object with such an
            attribute.
    """

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self.stream = stream

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the epoch before Keras reads its first batch."""
        del logs
        self.stream.epoch.assign(epoch)
