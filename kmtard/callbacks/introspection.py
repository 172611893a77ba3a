"""Switch IAD's third term on."""

from __future__ import annotations

from typing import Any

import keras

from kmtard.registry.ranges import Begin, checked


class Introspection(keras.callbacks.Callback):
    """Let the student of IAD learn from itself as well from an epoch on.

    Args:
        begin: that epoch, counted from 0; >= 0.

    Raises:
        ValueError: `begin` is no whole number >= 0.
    """

    @checked
    def __init__(self, begin: Begin = 60) -> None:
        super().__init__()
        self.begin = int(begin)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Tell the model whether the time has come."""
        del logs
        if not hasattr(self.model, "introspect"):
            raise TypeError(
                "Introspection drives a kmtard.methods.iad.IAD. Received: a model of "
                f"type {type(self.model).__name__}"
            )
        self.model.introspect(epoch >= self.begin)
