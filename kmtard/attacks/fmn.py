"""FMN: projected gradient steps in a ball that is fitted to the decision boundary."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from kmtard import backend, losses
from kmtard.attacks.arguments import one_of
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.hyperplane import flat
from kmtard.attacks.minimal_norm import MinimalNorm, Nearest, annealed, succeeds
from kmtard.attacks.norms import NORMS, column, steepest
from kmtard.attacks.projection import dual_length
from kmtard.backend.types import Labels, Logits, Tensor
from kmtard.registry.ranges import AnyRadius, InnerShare, Positive, Steps, checked

LAST_STEP = 0.01
"""Length of the last step, as a share of the first one."""

LAST_GAMMA = 0.001
"""Relative change of the radius in the last step."""

TINY = 1e-12
"""Smallest length in a denominator."""


class InBall(NamedTuple):
    """State of the search, one entry per image.

    Attributes:
        u: (batch, ...) the current iterate.
        radius: (batch,) radius of the ball; infinity before the first step.
        succeeded: bool (batch,), whether any iterate was a success.
        step: int32 (batch,), number of steps so far.
        nearest: the nearest success so far.
    """

    u: Tensor
    radius: Tensor
    succeeded: Tensor
    step: Tensor
    nearest: Nearest


@keras.saving.register_keras_serializable(package="kmtard")
class FMN(MinimalNorm):
    """Fast minimum-norm attack (FMN) in L_inf or L2.

    Pintor et al. 2021, "Fast Minimum-norm Adversarial Attacks through Adaptive Norm
    Constraints", as in adversarial-library. A step moves u along the gradient of the
    margin by a length that decreases along a cosine, and then into a ball around x. The
    radius of the ball is multiplied by `1 - gamma` after a success. Otherwise it is
    multiplied by `1 + gamma`, or, before the first success, estimated from the margin
    and its gradient. In L2, u is always moved to the sphere, as in the authors' code.

    The nearest success is returned if it is within epsilon, otherwise x. A finite
    epsilon does not affect the steps.

    Args:
        epsilon: radius, >= 0, within which an image counts as fooled, in pixel
            intensity (L_inf) or Euclidean length (L2); with infinity, every success
            counts.
        steps: number of steps, >= 0, each with one forward and one backward pass.
        step_length: Euclidean length of the first step, > 0; the last one is a
            hundredth of it.
        gamma: relative change of the radius in the first step, in (0, 1); 0.001 in the
            last one.
        norm: "linf" or "l2".
        early_stop: whether an image is finished once a success within epsilon is found.
            This does not change which images are fooled.

    Raises:
        ValueError: an argument is out of its range or unknown.

    Example:
        >>> x_adv = kmtard.attacks.FMN(steps=50, norm="linf")(model, x, y)
        >>> distances = np.abs(x_adv - x).reshape(len(x), -1).max(axis=1)
    """

    @checked
    def __init__(
        self,
        epsilon: AnyRadius = float("inf"),
        *,
        steps: Steps = 100,
        step_length: Positive = 1.0,
        gamma: InnerShare = 0.05,
        norm: str = "linf",
        early_stop: bool = False,
    ) -> None:
        self.epsilon = epsilon
        self.steps = int(steps)
        self.step_length = step_length
        self.gamma = gamma
        self.norm = one_of("norm", norm, NORMS)
        self.early_stop = early_stop

    def _begin(self, x: Tensor) -> InBall:
        zero = ops.zeros((x.shape[0],), "float32")
        step = ops.cast(zero, "int32")
        return InBall(x, zero + np.inf, zero > 0, step, self._nothing(x))

    def _step(
        self,
        classifier: Classifier,
        targeted: bool,
        state: InBall,
        x: Tensor,
        y: Labels,
    ) -> InBall:
        def objective(u: Tensor) -> tuple[Tensor, Logits]:
            logits = classifier.logits(u)
            margin = losses.margin(y, logits)
            return margin if targeted else -margin, logits

        values, logits, gradient = backend.value_and_gradient(objective, state.u)
        success, change = succeeds(logits, y, targeted), state.u - x
        distance = self._length(change)
        nearest = state.nearest.with_iterate(state.u, distance, success)
        succeeded = state.succeeded | success
        slope = ops.maximum(dual_length(flat(gradient), self.norm), TINY)
        gamma = annealed(state.step, self.steps, self.gamma, LAST_GAMMA)
        radius = ops.where(
            success,
            ops.minimum(state.radius * (1.0 - gamma), nearest.distance),
            ops.where(
                succeeded,
                state.radius * (1.0 + gamma),
                distance + ops.abs(values) / slope,
            ),
        )
        radius = ops.minimum(radius, self._farthest(x))
        last = LAST_STEP * self.step_length
        size = annealed(state.step, self.steps, self.step_length, last)
        change = change + ops.reshape(size, column(x)) * steepest(gradient, "l2")
        change = self._in_ball(change, ops.reshape(radius, column(x)))
        u = ops.clip(x + change, 0.0, 1.0)
        return InBall(u, radius, succeeded, state.step + 1, nearest)

    def _in_ball(self, change: Tensor, radius: Tensor) -> Tensor:
        if self.norm == "linf":
            return ops.clip(change, -radius, radius)
        size = ops.reshape(self._length(change), column(change))
        return change * (radius / ops.maximum(size, TINY))
