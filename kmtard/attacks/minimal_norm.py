"""What attacks share that search for the smallest perturbation that succeeds."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from kmtard.attacks.base import Attack, AttackBatch, Found
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.hyperplane import flat
from kmtard.attacks.norms import column
from kmtard.attacks.projection import length
from kmtard.attacks.shrinking import CHECK_EVERY, shrinking_loop
from kmtard.backend.types import Labels, Logits, Tensor

NUDGE = 1e-4
"""How much farther an image is moved, relative to its distance."""


class Nearest(NamedTuple):
    """The nearest success so far, one entry per image.

    Attributes:
        image: (batch, ...) the image; x before the first success.
        distance: (batch,) float32, its distance from x; infinity before.
    """

    image: Tensor
    distance: Tensor

    def with_iterate(self, u: Tensor, distance: Tensor, success: Tensor) -> Nearest:
        """Return the nearest success after an iterate.

        Args:
            u: (batch, ...) the iterate.
            distance: (batch,) its distance from x.
            success: bool (batch,), whether its prediction is the one to reach.
        """
        nearer = success & (distance < self.distance)
        return Nearest(
            ops.where(ops.reshape(nearer, column(u)), u, self.image),
            ops.where(nearer, distance, self.distance),
        )


class MinimalNorm(Attack):
    """Base class of the attacks whose steps search for the nearest success.

    A subclass has the attributes below and defines `_begin` and `_step`. The nearest
    success is returned if it is within epsilon, otherwise the clean image.

    Attributes:
        steps: number of steps.
        norm: "linf" or "l2".
        early_stop: whether an image is finished once a success within epsilon is found.
    """

    can_target = True
    steps: int
    norm: str
    early_stop: bool

    def attack_batch(self, classifier: Classifier, batch: AttackBatch) -> Found:
        """Return the nearest successes within epsilon; see `Attack.attack_batch`."""
        x = batch.x
        active = batch.where_unfooled(classifier.predict(x))
        nearest, forwards, backwards = self._search(classifier, batch, active)
        nearest = _confirmed(classifier, batch, nearest)
        radius = ops.reshape(batch.radii(self.epsilon), (-1,))
        # Infinite distances are not within an infinite radius.
        within = (nearest.distance <= radius) & (nearest.distance < np.inf)
        x_adv = ops.where(ops.reshape(within, column(x)), nearest.image, x)
        forwards = 2 * batch.active + forwards
        return Found(x_adv, forwards, forwards, backwards)

    def unfinished(
        self, batch: AttackBatch, active: np.ndarray
    ) -> Callable[[Nearest], np.ndarray]:
        """Return what maps the nearest successes to the rows that continue."""
        radius = ops.convert_to_numpy(batch.radii(self.epsilon)).reshape(-1)

        def rows(nearest: Nearest) -> np.ndarray:
            if not self.early_stop:
                return active
            distance = ops.convert_to_numpy(nearest.distance)
            return active & ~((distance <= radius) & np.isfinite(distance))

        return rows

    def _search(
        self, classifier: Classifier, batch: AttackBatch, active: np.ndarray
    ) -> tuple[Nearest, np.ndarray, np.ndarray]:
        """Return the nearest successes, and numbers of forward and backward passes."""
        continuing = self.unfinished(batch, active)
        state, taken = shrinking_loop(
            classifier,
            self._key(batch),
            functools.partial(self._step, classifier, batch.targeted),
            self._begin(batch.x),
            self.steps,
            (batch.x, batch.y),
            unfinished=lambda state: continuing(state.nearest),
            every=CHECK_EVERY if self.early_stop else max(1, self.steps),
        )
        forwards, backwards = self._passes(classifier)
        return state.nearest, forwards * taken, backwards * taken

    def _passes(self, classifier: Classifier) -> tuple[int, int]:
        """Return the number of forward and of backward passes of one step."""
        del classifier
        return 1, 1

    def _key(self, batch: AttackBatch) -> tuple:
        # The radius only decides when to stop.
        settings = {**self._settings(), "epsilon": None, "early_stop": None}
        return (type(self).__name__, *settings.values(), batch.targeted)

    def _begin(self, x: Tensor) -> Any:
        """Return the initial state, a named tuple with the field `nearest`."""
        raise NotImplementedError(f"{type(self).__name__} must define `_begin`.")

    def _step(
        self, classifier: Classifier, targeted: bool, state: Any, x: Tensor, y: Labels
    ) -> Any:
        """Return the state after one forward and one backward pass."""
        raise NotImplementedError(f"{type(self).__name__} must define `_step`.")

    def _nothing(self, x: Tensor) -> Nearest:
        return Nearest(x, ops.full((x.shape[0],), np.inf, "float32"))

    def _length(self, change: Tensor) -> Tensor:
        return length(flat(change), self.norm)

    def _farthest(self, x: Tensor) -> Tensor:
        """Return the distance (batch,) from `x` to the farthest corner of [0, 1]."""
        return self._length(ops.maximum(x, 1.0 - x))


def _confirmed(classifier: Classifier, batch: AttackBatch, nearest: Nearest) -> Nearest:
    """Return the nearest successes, moved on where only rounding made them one.

    Such an image lies so close to the boundary that another compiled function gives it
    the other class.
    """
    distance = ops.convert_to_numpy(nearest.distance)
    fooled = batch.fooled(classifier.predict(nearest.image))
    lost = np.isfinite(distance) & ~fooled
    if not lost.any():
        return nearest
    further = batch.x + (1 + NUDGE) * (nearest.image - batch.x)
    return Nearest(
        ops.where(
            lost.reshape(column(batch.x)), ops.clip(further, 0.0, 1.0), nearest.image
        ),
        ops.where(lost, (1 + NUDGE) * nearest.distance, nearest.distance),
    )


def succeeds(logits: Logits, y: Labels, targeted: bool) -> Tensor:
    """Return bool (batch,), whether each prediction is the one to reach."""
    reached = ops.cast(ops.argmax(logits, axis=-1), y.dtype) == y
    return reached if targeted else ~reached


def annealed(step: Tensor, steps: int, first: float, last: float) -> Tensor:
    """Return values that decrease from `first` to `last` along a half cosine.

    Args:
        step: int32 (batch,), the number of the step.
        steps: number of all steps.
        first: value at step 0.
        last: value after the last step.
    """
    share = ops.cast(step, "float32") / max(steps, 1)
    return last + (first - last) * (1.0 + ops.cos(np.pi * share)) / 2.0
