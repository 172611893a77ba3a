"""Tell the input pipeline which epoch it is."""

from __future__ import annotations

from typing import Any

import keras


class DataEpoch(keras.callbacks.Callback):
    """Set `stream.epoch`, which order and augmentation of the images depend on.

    Args:
        stream: a `kmtard.data.pipeline.TrainingStream`, or what has such a variable.
    """

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self.stream = stream

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Set it before Keras asks for the epoch's iterator."""
        del logs
        self.stream.epoch.assign(epoch)
