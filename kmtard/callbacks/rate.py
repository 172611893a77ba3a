"""The rate of a balance over the epochs, and its fall with the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kmtard.registry.ranges import Positive, Weight, checked


class RateCallback(keras.callbacks.Callback):
    """Base of the callbacks that drive a balance: works out the rate of an epoch.

    Args:
        rate: at the start, >= 0; 0 leaves the balance where it is and only logs it.
        learning_rate: the optimiser's learning rate at which `rate` holds in full; the
            rate then falls and rises with the optimiser's, whoever sets that
            (`LearningRateScheduler`, `ReduceLROnPlateau`, ...; put those before this
            callback in the list).
        milestones: epochs, counted from 1, after which the rate is multiplied by
            `factor`; for a learning rate that is not followed.
        factor: of the milestones.

    Raises:
        ValueError: a number is out of its range, or both ways of falling are given.
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
                "Give `learning_rate` (the rate follows the optimiser's) or "
                f"`milestones`, not both. Received: {learning_rate} and {milestones}"
            )
        self.rate = rate
        self.learning_rate = learning_rate
        self.milestones = tuple(milestones)
        self.factor = factor

    def rate_of(self, epoch: int) -> float:
        """Return the rate of an epoch counted from 0."""
        if self.learning_rate is not None:
            present = np.float32(self.model.optimizer.learning_rate)
            return self.rate * float(present / np.float32(self.learning_rate))
        passed = sum(milestone <= epoch for milestone in self.milestones)
        return self.rate * self.factor**passed

    def require(self, variable: str) -> Any:
        """Return the model's variable, or say which model this callback is for.

        Raises:
            TypeError: the model has no such balance.
        """
        try:
            return getattr(self.model, variable)
        except AttributeError:
            raise TypeError(
                f"{type(self).__name__} drives a kmtard.MultiTeacherDistiller. "
                f"Received: a model of type {type(self.model).__name__}"
            ) from None
