"""The attack of Carlini and Wagner in L2: Adam on the distance plus a margin."""

from __future__ import annotations

import functools
from typing import Literal, NamedTuple

import keras
import numpy as np
from keras import ops

from kmtard import backend, losses
from kmtard.attacks.base import AttackBatch
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.hyperplane import flat
from kmtard.attacks.minimal_norm import MinimalNorm, Nearest
from kmtard.attacks.norms import column
from kmtard.attacks.shrinking import shrinking_loop
from kmtard.backend.types import Labels, Logits, Tensor
from kmtard.registry.ranges import AnyRadius, Positive, Radius, Repeats, Steps, checked

BETA_1, BETA_2, ADAM_EPSILON = 0.9, 0.999, 1e-8
"""Constants of Adam."""

INSIDE = 1 - 1e-6
"""Factor that keeps the inverse of tanh finite at the borders of [0, 1]."""

UNKNOWN = 1e10
"""Upper bound of the weight before the first success."""

CHECKS = 10
"""Number of times per search for which a stalled image is finished."""

STALLED = 0.9999
"""An image is finished if its loss is above this share of that at the last check."""


class Minimization(NamedTuple):
    """State of one search with a fixed weight, one entry per image.

    Attributes:
        change: (batch, ...) the variable: change of atanh(2 x - 1).
        first: (batch, ...) Adam's mean of the gradient.
        second: (batch, ...) Adam's mean of its square.
        step: (batch,) float32, number of steps so far.
        loss: (batch,) loss at the last evaluated point.
        found: bool (batch,), whether this search had a success.
        nearest: the nearest success of all searches.
    """

    change: Tensor
    first: Tensor
    second: Tensor
    step: Tensor
    loss: Tensor
    found: Tensor
    nearest: Nearest


@keras.saving.register_keras_serializable(package="kmtard")
class CWL2(MinimalNorm):
    """The attack of Carlini and Wagner (2017) that minimizes the L2 distance.

    As in adversarial-library. With `u = (tanh(w) + 1) / 2`, Adam minimizes
    `|u - x|^2 + weight * max(margin(u) + confidence, 0)` over w. Several such searches
    follow each other, each from x. A search with a success lowers the weight of the
    next one, and one without raises it: the weight is found by bisection, per image.

    The nearest success of all searches is returned if it is within epsilon, otherwise
    x. A finite epsilon does not affect the steps.

    Args:
        epsilon: Euclidean length, >= 0, within which an image counts as fooled; with
            infinity, every success counts.
        steps: number of steps of each search, >= 0, each with one forward and one
            backward pass.
        searches: number of searches, >= 1.
        weight: weight of the margin in the first search, > 0.
        learning_rate: learning rate of Adam, > 0.
        confidence: margin, in logit units, >= 0, by which another class must lead.
        norm: "l2"; there is no other version.
        early_stop: whether an image is finished once a success within epsilon is found,
            and, within a search, once its loss no longer decreases.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> x_adv = kmtard.attacks.CWL2(steps=100)(model, x, y)
        >>> distances = np.linalg.norm((x_adv - x).reshape(len(x), -1), axis=1)
    """

    @checked
    def __init__(
        self,
        epsilon: AnyRadius = float("inf"),
        *,
        steps: Steps = 1000,
        searches: Repeats = 9,
        weight: Positive = 1e-3,
        learning_rate: Positive = 0.01,
        confidence: Radius = 0.0,
        norm: Literal["l2"] = "l2",
        early_stop: bool = False,
    ) -> None:
        self.epsilon = epsilon
        self.steps = int(steps)
        self.searches = int(searches)
        self.weight = weight
        self.learning_rate = learning_rate
        self.confidence = confidence
        self.norm = norm
        self.early_stop = early_stop

    def _search(
        self, classifier: Classifier, batch: AttackBatch, active: np.ndarray
    ) -> tuple[Nearest, np.ndarray, np.ndarray]:
        nearest, taken = self._nothing(batch.x), np.zeros(len(active), int)
        weight = np.full(len(active), self.weight, "float32")
        low, high = np.zeros_like(weight), np.full_like(weight, UNKNOWN)
        continuing = self.unfinished(batch, active)
        for _ in range(self.searches):
            rows = continuing(nearest)
            if not rows.any():
                break
            state, steps = self._minimize(classifier, batch, nearest, weight, rows)
            nearest, taken = state.nearest, taken + steps
            found = ops.convert_to_numpy(state.found)
            high = np.where(found, np.minimum(high, weight), high)
            low = np.where(found, low, np.maximum(low, weight))
            known = high < UNKNOWN / 10
            raised = np.where(found, weight, 10 * weight)
            weight = np.where(known, (low + high) / 2, raised).astype("float32")
        return nearest, taken, taken

    def _minimize(
        self,
        classifier: Classifier,
        batch: AttackBatch,
        nearest: Nearest,
        weight: np.ndarray,
        active: np.ndarray,
    ) -> tuple[Minimization, np.ndarray]:
        """Return the state after one search, and the number of steps of each row."""
        x = batch.x
        zero = ops.zeros((x.shape[0],), "float32")
        nothing = ops.zeros_like(x)
        start = Minimization(
            nothing, nothing, nothing, zero, zero + np.inf, zero > 0, nearest
        )
        continuing = self.unfinished(batch, active)
        before = np.full(len(active), np.inf, "float32")
        stalled = np.zeros(len(active), bool)

        def unfinished(state: Minimization) -> np.ndarray:
            nonlocal before, stalled
            if self.early_stop:
                loss = ops.convert_to_numpy(state.loss)
                # Before the first step, both are infinite.
                stalled = stalled | (np.isfinite(loss) & (loss > STALLED * before))
                before = loss
            return continuing(state.nearest) & ~stalled

        return shrinking_loop(
            classifier,
            self._key(batch),
            functools.partial(self._moved, classifier, batch.targeted),
            start,
            self.steps,
            (x, batch.y, ops.convert_to_tensor(weight)),
            unfinished=unfinished,
            every=max(1, self.steps // (CHECKS if self.early_stop else 1)),
        )

    def _moved(
        self,
        classifier: Classifier,
        targeted: bool,
        state: Minimization,
        x: Tensor,
        y: Labels,
        weight: Tensor,
    ) -> Minimization:
        origin = ops.arctanh((2.0 * x - 1.0) * INSIDE)

        def objective(change: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
            u = (ops.tanh(origin + change) + 1.0) / 2.0
            squared = ops.sum(ops.square(flat(u - x)), axis=1)
            logits = classifier.logits(u)
            margin = losses.margin(y, logits)
            margin = -margin if targeted else margin
            loss = squared + weight * ops.relu(margin + self.confidence)
            return loss, (u, squared, logits)

        values = backend.value_and_gradient(objective, state.change)
        loss, (u, squared, logits), gradient = values
        success = self._succeeds(logits, y, targeted)
        step = state.step + 1.0
        first = BETA_1 * state.first + (1 - BETA_1) * gradient
        second = BETA_2 * state.second + (1 - BETA_2) * ops.square(gradient)
        root = ops.sqrt(second) / _corrected(BETA_2, step, x, 0.5) + ADAM_EPSILON
        size = self.learning_rate / _corrected(BETA_1, step, x, 1.0)
        return Minimization(
            change=state.change - size * first / root,
            first=first,
            second=second,
            step=step,
            loss=loss,
            found=state.found | success,
            nearest=state.nearest.with_iterate(u, ops.sqrt(squared), success),
        )

    def _succeeds(self, logits: Logits, y: Labels, targeted: bool) -> Tensor:
        sign = -self.confidence if targeted else self.confidence
        own = ops.one_hot(y, logits.shape[-1], dtype="float32")
        reached = ops.cast(ops.argmax(logits + sign * own, axis=-1), y.dtype) == y
        return reached if targeted else ~reached


def _corrected(beta: float, step: Tensor, x: Tensor, power: float) -> Tensor:
    """Return Adam's correction of a mean that began at 0, (batch, 1, ...)."""
    return ops.reshape(ops.power(1.0 - ops.power(beta, step), power), column(x))
