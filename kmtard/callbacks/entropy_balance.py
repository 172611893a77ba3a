"""Entropy-Based Balance: set the rate of both teachers' temperatures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kmtard.callbacks.rate import RateCallback
from kmtard.registry.ranges import Bounds, Weight, checked


class EntropyBalance(RateCallback):
    """Move the teachers' temperatures towards equal entropy (EBB).

    The callback sets the rate and the bounds. The training step updates the
    temperatures (`balance.entropy_balance`). `nat_temperature` and `adv_temperature`
    are added to the epoch's logs, which also contain the entropies.

    Args:
        rate: change of a temperature per training step, >= 0; 1e-3 in the paper.
        bounds: (low, high) of both temperatures, 0 < low <= high.
        learning_rate: see `RateCallback`.
        milestones: see `RateCallback`.
        factor: see `RateCallback`.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> ebb = kmtard.callbacks.EntropyBalance(rate=1e-3, milestones=[215, 260])
        >>> distiller = kmtard.MultiTeacherDistiller(student, teacher, teacher)
        >>> distiller.compile(kmtard.optimizers.L2SGD(0.1))
        >>> history = distiller.fit(x, y, callbacks=[ebb], verbose=0)
        >>> "nat_temperature" in history.history
        True
    """

    @checked
    def __init__(
        self,
        rate: Weight = 1e-3,
        bounds: Bounds = (1.0, 10.0),
        learning_rate: float | None = None,
        milestones: Sequence[int] = (),
        factor: float = 0.1,
    ) -> None:
        super().__init__(rate, learning_rate, milestones, factor)
        low, high = bounds
        self.bounds = (float(low), float(high))

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Set the bounds of the temperatures."""
        bounds = self.require("temperature_bounds")
        bounds.assign(np.array(self.bounds, "float32"))

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the rate of this epoch."""
        self.model.temperature_rate.assign(self.rate_of(epoch))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add the temperatures to the logs."""
        if logs is not None:
            logs["nat_temperature"] = float(self.model.nat_temperature.value)
            logs["adv_temperature"] = float(self.model.adv_temperature.value)
