"""Move the class temperatures of ABSLD."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kmtard import balance
from kmtard.callbacks.class_callback import ClassCallback
from kmtard.callbacks.rate import RateCallback
from kmtard.registry.ranges import Bounds, Weight, checked


class ClassTemperatures(ClassCallback, RateCallback):
    """Sharpen the soft labels of hard classes (`balance.class_temperatures`).

    The authors' code lets the rate fall with the learning rate before it updates: after
    epoch 215, say, the first smaller step is taken. `milestones` does just that, and
    `learning_rate` follows one epoch later, as the optimiser's has not fallen yet.

    Args:
        rate: largest move of an epoch, >= 0; 0.1 in the paper.
        bounds: (low, high) of the temperatures, 0 < low <= high.
        learning_rate: see `RateCallback`, as are the rest.
        milestones: see `RateCallback`.
        factor: see `RateCallback`.

    Raises:
        ValueError: an argument is out of its range.
    """

    @checked
    def __init__(
        self,
        rate: Weight = 0.1,
        bounds: Bounds = (0.5, 5.0),
        learning_rate: float | None = None,
        milestones: Sequence[int] = (),
        factor: float = 0.1,
    ) -> None:
        RateCallback.__init__(self, rate, learning_rate, milestones, factor)
        low, high = bounds
        self.bounds = (float(low), float(high))

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Refuse a model without class temperatures."""
        self.require_state("nat_class_temperature")

    def update(self, epoch: int) -> None:
        """Set the temperatures of the next epoch."""
        images = self.values("class_images")
        for kind in ("nat", "adv"):
            name = f"{kind}_class_temperature"
            moved = balance.class_temperatures(
                self.values(name),
                self.values(f"{kind}_class_loss"),
                images,
                rate=self.rate_of(epoch + 1),
                bounds=self.bounds,
            )
            getattr(self.model, name).assign(moved.astype("float32"))
