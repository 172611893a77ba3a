"""Enable the third term of IAD's loss."""

from __future__ import annotations

from typing import Any

import keras

from kmtard.registry.ranges import Begin, checked


class Introspection(keras.callbacks.Callback):
    """Enable student introspection in IAD: the student also learns from itself.

    Args:
        begin: first epoch with introspection, counted from 0; >= 0.

    Raises:
        ValueError: `begin` is not a whole number >= 0.

    Example:
        >>> callback = kmtard.callbacks.Introspection(begin=60)
    """

    @checked
    def __init__(self, begin: Begin = 60) -> None:
        super().__init__()
        self.begin = int(begin)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Enable or disable introspection for this epoch."""
        del logs
        if not hasattr(self.model, "introspect"):
            raise TypeError(
                "Introspection needs a kmtard.methods.IAD. Received: a model of type "
                f"{type(self.model).__name__}."
            )
        self.model.introspect(epoch >= self.begin)
