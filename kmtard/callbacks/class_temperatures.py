"""Update the class temperatures of ABSLD."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kmtard import balance
from kmtard.callbacks.class_callback import ClassCallback
from kmtard.callbacks.rate import RateCallback
from kmtard.registry.ranges import Bounds, Weight, checked


class ClassTemperatures(ClassCallback, RateCallback):
    """Lower the teacher's temperature for hard classes (`balance.class_temperatures`).

    At a drop of the learning rate, the authors' code reduces the rate first and then
    updates the temperatures. With a drop after epoch 215, the update after epoch 215
    already uses the smaller rate. `milestones` does the same. With `learning_rate`, the
    smaller rate is used one epoch later, because the optimizer's learning rate has not
    changed yet at that moment.

    Args:
        rate: largest change of a temperature per epoch, >= 0; 0.1 in the paper.
        bounds: (low, high) of the temperatures, 0 < low <= high.
        learning_rate: see `RateCallback`.
        milestones: see `RateCallback`.
        factor: see `RateCallback`.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> callback = kmtard.callbacks.ClassTemperatures(rate=0.1, milestones=[215])
        >>> callback.rate_of(0), round(callback.rate_of(215), 3)
        (0.1, 0.01)
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
        """Check that the model has class temperatures."""
        self.require_state("nat_class_temperature")

    def update(self, epoch: int) -> None:
        """Set the temperatures for the next epoch."""
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
