"""DeepFool: steps to the nearest hyperplane that approximates the boundary."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from kmtard.attacks import hyperplane
from kmtard.attacks.arguments import one_of
from kmtard.attacks.base import AttackBatch
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.hyperplane import flat
from kmtard.attacks.minimal_norm import MinimalNorm, Nearest, succeeds
from kmtard.attacks.norms import NORMS, column
from kmtard.attacks.projection import dual_length
from kmtard.backend.types import Labels, Tensor
from kmtard.registry.ranges import AnyRadius, Share, Steps, checked

BEYOND = 1e-4
"""What the authors' code adds to the distance of the hyperplane."""

FLATTEST = 1e-6
"""Smallest length of a gradient in a denominator, as in the authors' code."""


class Approach(NamedTuple):
    """State of the search, one entry per image.

    Attributes:
        u: (batch, ...) the current iterate.
        nearest: the first success.
    """

    u: Tensor
    nearest: Nearest


@keras.saving.register_keras_serializable(package="kmtard")
class DeepFool(MinimalNorm):
    """DeepFool in L_inf or L2, untargeted.

    Moosavi-Dezfooli et al. 2016, "DeepFool: a simple and accurate method to fool deep
    neural networks", as in adversarial-library. Each step approximates the boundaries
    between the label and all other classes by hyperplanes, and moves u beyond the
    nearest one. The result is clipped to [0, 1]. An image is finished at its first
    success, which is usually not the nearest one: DDN, FMN and FAB find nearer ones.

    The success is returned if it is within epsilon, otherwise x.

    Args:
        epsilon: radius, >= 0, within which an image counts as fooled, in pixel
            intensity (L_inf) or Euclidean length (L2); with infinity, every success
            counts.
        steps: number of steps, >= 0, each with two forward passes, and one backward
            pass per class.
        overshoot: by how much a step is longer than the way to the hyperplane, as a
            share, in [0, 1].
        norm: "linf" or "l2".

    Raises:
        ValueError: an argument is out of its range or unknown.

    Example:
        >>> x_adv = kmtard.attacks.DeepFool(norm="l2")(model, x, y)
        >>> distances = np.linalg.norm((x_adv - x).reshape(len(x), -1), axis=1)
    """

    can_target = False
    early_stop = True

    @checked
    def __init__(
        self,
        epsilon: AnyRadius = float("inf"),
        *,
        steps: Steps = 50,
        overshoot: Share = 0.02,
        norm: str = "linf",
    ) -> None:
        self.epsilon = epsilon
        self.steps = int(steps)
        self.overshoot = overshoot
        self.norm = one_of("norm", norm, NORMS)

    def unfinished(
        self, batch: AttackBatch, active: np.ndarray
    ) -> Callable[[Nearest], np.ndarray]:
        """Return a function that says which images have no success yet."""
        del batch
        return lambda nearest: (
            active & ~np.isfinite(ops.convert_to_numpy(nearest.distance))
        )

    def _passes(self, classifier: Classifier) -> tuple[int, int]:
        return 2, classifier.num_classes

    def _begin(self, x: Tensor) -> Approach:
        return Approach(x, self._nothing(x))

    def _step(
        self,
        classifier: Classifier,
        targeted: bool,
        state: Approach,
        x: Tensor,
        y: Labels,
    ) -> Approach:
        lead, normal = hyperplane.nearest(classifier, state.u, y, self.norm)
        slope = ops.maximum(dual_length(flat(normal), self.norm), FLATTEST)
        distance = (1.0 + self.overshoot) * (ops.abs(lead) / slope + BEYOND)
        if self.norm == "linf":
            direction = ops.sign(normal)
        else:
            direction = normal / ops.reshape(slope, column(x))
        u = state.u + ops.reshape(distance, column(x)) * direction
        found = ops.reshape(state.nearest.distance < np.inf, column(x))
        u = ops.where(found, state.u, ops.clip(u, 0.0, 1.0))
        success = succeeds(classifier.logits(u), y, targeted)
        moved = self._length(u - x)
        return Approach(u, state.nearest.with_iterate(u, moved, success))
