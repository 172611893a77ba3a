"""The rate of a balance rule in each epoch, and how it follows the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kmtard.registry.ranges import Positive, Weight, checked


class RateCallback(keras.callbacks.Callback):
    """Base of the callbacks that control a balance rule: computes the rate per epoch.

    The rate is constant, or it follows the optimizer's learning rate
    (`learning_rate`), or it drops after given epochs (`milestones`).

    Args:
        rate: initial rate, >= 0; with 0 the balance does not change and is only logged.
        learning_rate: the optimizer's learning rate to which `rate` belongs, > 0. The
            rate of an epoch is then `rate` times the current learning rate divided by
            this value. List callbacks that set the learning rate
            (`LearningRateScheduler`, `ReduceLROnPlateau`, ...) before this one.
        milestones: epochs, counted from 1, after which the rate is multiplied by
            `factor`. Not allowed with `learning_rate`.
        factor: factor of the milestones.

    Raises:
        ValueError: a number is out of its range, or both `learning_rate` and
            `milestones` are given.
    """

    @checked
    def __init__(
        self,
        rate: Weight,
        learning_rate: Positive | None = None,
        milestones: Sequence[int] = (),
        factor: Positive = 0.1,
    ) -> None:
        super().__init__()
        if learning_rate is not None and milestones:
            raise ValueError(
                "Give `learning_rate` (the rate follows the optimizer's) or "
                f"`milestones`, not both. Received: learning_rate={learning_rate!r}, "
                f"milestones={milestones!r}."
            )
        self.rate = rate
        self.learning_rate = learning_rate
        self.milestones = tuple(milestones)
        self.factor = factor

    def rate_of(self, epoch: int) -> float:
        """Return the rate for an epoch, counted from 0."""
        if self.learning_rate is not None:
            present = np.float32(self.model.optimizer.learning_rate)
            return self.rate * float(present / np.float32(self.learning_rate))
        passed = sum(milestone <= epoch for milestone in self.milestones)
        return self.rate * self.factor**passed

    def require(self, variable: str) -> Any:
        """Return a variable of the model.

        Raises:
            TypeError: the model has no such variable.
        """
        try:
            return getattr(self.model, variable)
        except AttributeError:
            raise TypeError(
                f"{type(self).__name__} needs a kmtard.MultiTeacherDistiller. "
                f"Received: a model of type {type(self.model).__name__}."
            ) from None
