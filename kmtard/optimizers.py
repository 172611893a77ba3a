"""Optimizers that compute what the authors' PyTorch code computes."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import keras
from keras import ops

from kmtard import backend
from kmtard.registry.ranges import PartialShare, Weight, check, checked


@keras.saving.register_keras_serializable(package="kmtard")
class L2SGD(keras.optimizers.Optimizer):
    """SGD with coupled L2 regularization, as `torch.optim.SGD` computes it.

    `g <- g + weight_decay w; v <- momentum v + g; w <- w - learning_rate v`, with
    Nesterov momentum `w <- w - learning_rate (g + momentum v)`. All reference scripts
    train with this rule. `keras.optimizers.SGD` differs in two points: it decouples
    `weight_decay` from the gradient, and its velocity includes the learning rate, which
    changes the result after each drop of the learning rate.

    Args:
        learning_rate: a number >= 0, or a `LearningRateSchedule`.
        momentum: in [0, 1).
        weight_decay: L2 coefficient, >= 0, on every trainable variable (kernels,
            biases, BatchNorm's gamma and beta) except those given to
            `exclude_from_weight_decay`.
        nesterov: whether to use Nesterov momentum.
        name: name of the optimizer.
        **kwargs: arguments of `keras.optimizers.Optimizer`.

    Raises:
        ValueError: a number is out of its range.

    Example:
        >>> optimizer = kmtard.optimizers.L2SGD(0.1, momentum=0.9, weight_decay=2e-4)
        >>> model.compile(optimizer)
    """

    @checked
    def __init__(
        self,
        learning_rate: float | Any = 0.1,
        momentum: PartialShare = 0.9,
        weight_decay: Weight = 0.0,
        nesterov: bool = False,
        name: str = "l2_sgd",
        **kwargs: Any,
    ) -> None:
        if isinstance(learning_rate, Real):
            check("learning_rate", learning_rate, Weight)
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.l2 = weight_decay
        self.nesterov = nesterov

    def build(self, variables: Sequence[Any]) -> None:
        """Create one velocity per variable, initially zero."""
        if self.built:
            return
        super().build(variables)
        self.velocities = self.add_optimizer_variables(variables, "velocity")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable in place."""
        velocity = self.velocities[self._get_variable_index(variable)]
        decay = self.l2 if self._use_weight_decay(variable) else 0.0
        if backend.sgd_update(
            variable,
            gradient,
            velocity,
            learning_rate=learning_rate,
            momentum=self.momentum,
            weight_decay=decay,
            nesterov=self.nesterov,
        ):
            return
        learning_rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        if decay:
            gradient = gradient + decay * variable
        update = self.momentum * velocity + gradient
        self.assign(velocity, update)
        if self.nesterov:
            update = gradient + self.momentum * update
        self.assign_sub(variable, learning_rate * update)

    def get_config(self) -> dict:
        """Return the arguments of an equal optimizer."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "weight_decay": self.l2,
            "nesterov": self.nesterov,
        }
