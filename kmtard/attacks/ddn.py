"""DDN: steps along the gradient on a sphere whose radius shrinks after each success."""

from __future__ import annotations

from typing import Literal, NamedTuple

import keras
from keras import ops

from kmtard import backend, losses
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.minimal_norm import MinimalNorm, Nearest, annealed, succeeds
from kmtard.attacks.norms import column, steepest
from kmtard.backend.types import Labels, Logits, Tensor
from kmtard.registry.ranges import (
    AnyRadius,
    InnerShare,
    Levels,
    Positive,
    Steps,
    checked,
)

STEP_SIZES = (1.0, 0.01)
"""Euclidean length of the first step, and of the last one."""

TINY = 1e-12
"""Smallest length in a denominator."""


class OnSphere(NamedTuple):
    """State of the search, one entry per image.

    Attributes:
        u: (batch, ...) the current iterate.
        radius: (batch,) Euclidean length of `u - x` before it is clipped.
        step: int32 (batch,), number of steps so far.
        nearest: the nearest success so far.
    """

    u: Tensor
    radius: Tensor
    step: Tensor
    nearest: Nearest


@keras.saving.register_keras_serializable(package="kmtard")
class DDN(MinimalNorm):
    """Decoupled direction and norm (DDN), an attack that minimizes the L2 distance.

    Rony et al. 2019, "Decoupling Direction and Norm for Efficient Gradient-Based L2
    Adversarial Attacks and Defenses", as in adversarial-library. A step moves u along
    the gradient of the cross-entropy by a length that decreases from 1 to 0.01 along a
    cosine. Then u is moved to the sphere around x whose radius is multiplied by
    `1 - gamma` after a success, and by `1 + gamma` otherwise, and clipped to [0, 1].

    The nearest success is returned if it is within epsilon, otherwise x. A finite
    epsilon does not affect the steps.

    Args:
        epsilon: Euclidean length, >= 0, within which an image counts as fooled; with
            infinity, every success counts.
        steps: number of steps, >= 0, each with one forward and one backward pass.
        gamma: relative change of the radius in each step, in (0, 1).
        radius: the first radius, > 0.
        levels: number of values that a pixel may have, such as 256, to which u is
            rounded in each step; 0 for no rounding.
        norm: "l2"; there is no other version.
        early_stop: whether an image is finished once a success within epsilon is found.
            This does not change which images are fooled.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> x_adv = kmtard.attacks.DDN(steps=50)(model, x, y)
        >>> distances = np.linalg.norm((x_adv - x).reshape(len(x), -1), axis=1)
    """

    @checked
    def __init__(
        self,
        epsilon: AnyRadius = float("inf"),
        *,
        steps: Steps = 100,
        gamma: InnerShare = 0.05,
        radius: Positive = 1.0,
        levels: Levels = 256,
        norm: Literal["l2"] = "l2",
        early_stop: bool = False,
    ) -> None:
        self.epsilon = epsilon
        self.steps = int(steps)
        self.gamma = gamma
        self.radius = radius
        self.levels = int(levels)
        self.norm = norm
        self.early_stop = early_stop

    def _begin(self, x: Tensor) -> OnSphere:
        radius = ops.full((x.shape[0],), self.radius, "float32")
        return OnSphere(x, radius, ops.cast(0 * radius, "int32"), self._nothing(x))

    def _step(
        self,
        classifier: Classifier,
        targeted: bool,
        state: OnSphere,
        x: Tensor,
        y: Labels,
    ) -> OnSphere:
        def objective(u: Tensor) -> tuple[Tensor, Logits]:
            logits = classifier.logits(u)
            values = losses.cross_entropy(y, logits)
            return -values if targeted else values, logits

        _, logits, gradient = backend.value_and_gradient(objective, state.u)
        success, change = succeeds(logits, y, targeted), state.u - x
        nearest = state.nearest.with_iterate(state.u, self._length(change), success)
        size = ops.reshape(annealed(state.step, self.steps, *STEP_SIZES), column(x))
        change = change + size * steepest(gradient, "l2")
        factor = ops.where(success, 1.0 - self.gamma, 1.0 + self.gamma)
        radius = ops.minimum(factor * state.radius, self._farthest(x))
        scale = radius / ops.maximum(self._length(change), TINY)
        u = ops.clip(x + ops.reshape(scale, column(x)) * change, 0.0, 1.0)
        if self.levels:
            u = ops.round(u * (self.levels - 1)) / (self.levels - 1)
        return OnSphere(u, radius, state.step + 1, nearest)
