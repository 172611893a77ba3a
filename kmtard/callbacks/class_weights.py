"""Update the class weights of Fair-ARD."""

from __future__ import annotations

from typing import Any

from kmtard import balance
from kmtard.callbacks.class_callback import ClassCallback
from kmtard.registry.ranges import Bounds, Weight, checked


class ClassWeights(ClassCallback):
    """Give larger weights to classes that the attack fools sooner.

    The rule is `balance.class_weights`.

    Args:
        beta: exponent, >= 0; 2 in the authors' code.
        bounds: (low, high) of the weights, 0 < low <= high.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> callback = kmtard.callbacks.ClassWeights(beta=2.0, bounds=(0.8, 2.5))
    """

    @checked
    def __init__(self, beta: Weight = 2.0, bounds: Bounds = (5 / 6, 5 / 2)) -> None:
        super().__init__()
        low, high = bounds
        self.beta = beta
        self.bounds = (float(low), float(high))

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Check that the model has class weights."""
        self.require_state("class_weights")

    def update(self, epoch: int) -> None:
        """Set the weights for the next epoch."""
        del epoch
        weights = balance.class_weights(
            self.values("robust_steps"),
            self.values("class_images"),
            beta=self.beta,
            bounds=self.bounds,
        )
        self.model.class_weights.assign(weights.astype("float32"))
