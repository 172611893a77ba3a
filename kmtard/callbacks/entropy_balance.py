"""Drive the temperatures of both teachers: Entropy-Based Balance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kmtard.callbacks.rate import RateCallback
from kmtard.registry.ranges import Bounds, Weight, checked


class EntropyBalance(RateCallback):
    """Let the teachers' temperatures move towards equal entropy (EBB).

    Sets rate and bounds; the step does the moving (`balance.entropy_balance`). Adds
    `nat_temperature` and `adv_temperature` to the epoch's logs, beside the entropies.

    Args:
        rate: of a step; 1e-3 in the paper.
        bounds: (low, high) of both temperatures, 0 < low <= high.
        learning_rate: see `RateCallback`, as are the rest.
        milestones: see `RateCallback`.
        factor: see `RateCallback`.

    Raises:
        ValueError: an argument is out of its range.
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
        """Set the bounds."""
        bounds = self.require("temperature_bounds")
        bounds.assign(np.array(self.bounds, "float32"))

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the rate of this epoch."""
        self.model.temperature_rate.assign(self.rate_of(epoch))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Log the temperatures."""
        if logs is not None:
            logs["nat_temperature"] = float(self.model.nat_temperature.value)
            logs["adv_temperature"] = float(self.model.adv_temperature.value)
