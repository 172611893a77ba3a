"""RayS: a search over rays that uses only the predicted class."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from kmtard.attacks.base import Attack, AttackBatch, Found
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.norms import column
from kmtard.attacks.shrinking import shrinking_loop
from kmtard.backend.types import Labels, Tensor
from kmtard.registry.ranges import AnyRadius, Queries, checked

TOLERANCE = 1e-3
"""Precision of the radius at which a bisection ends, a Euclidean length."""

CHECK_EVERY = 25
"""Number of queries between two checks of which images are finished."""


class Search(NamedTuple):
    """State of the search, one entry per image.

    Each try flips the signs of one block and queries the point on the new ray at the
    best radius so far. If this point is misclassified, a bisection finds the radius of
    the new ray.

    Attributes:
        signs: (batch, ...) -1 or 1, the best ray.
        radius: (batch,) Euclidean length along it; infinity while none is found.
        nearest: (batch, ...) the clipped point at this radius; 1 while none is found.
        distance: (batch,) L_inf distance of `nearest` from x.
        tried: int32 (batch,), the number of the current try.
        bisecting: bool (batch,), whether this try is in its bisection.
        low: (batch,) largest known radius that is classified correctly.
        high: (batch,) smallest known radius that is misclassified.
        queries: int32 (batch,), number of queries so far.
        needed: int32 (batch,), number of queries until `nearest` was within epsilon;
            all queries if it is not.
        fooled: bool (batch,), whether `nearest` is within epsilon.
    """

    signs: Tensor
    radius: Tensor
    nearest: Tensor
    distance: Tensor
    tried: Tensor
    bisecting: Tensor
    low: Tensor
    high: Tensor
    queries: Tensor
    needed: Tensor
    fooled: Tensor


@keras.saving.register_keras_serializable(package="kmtard")
class RayS(Attack):
    """Ray searching attack (RayS): L_inf, untargeted, deterministic.

    Chen and Gu 2020, "RayS: A Ray Searching Method for Hard-label Adversarial Attack".
    A ray points from the image to a corner of a cube, so that it is a sign per pixel.
    The search flips the signs of blocks of pixels: of the whole image, then of halves,
    quarters and so on, in the order channel, row, column. It keeps a flip if the
    decision boundary is nearer on the new ray.

    The nearest point is returned if it is within epsilon, otherwise x.

    Args:
        epsilon: radius in pixel intensity, >= 0, within which an image counts as
            fooled; with infinity, every misclassified point counts.
        queries: number of queries per image, >= 1.
        strict_budget: whether to end a bisection when the queries are used up, with its
            misclassified end as the result. If False, as in the authors' code, no new
            try begins then, but the current one is finished, which takes at most
            `log2(sqrt(d) / 0.001)` more queries for d pixel values.
        early_stop: whether an image is finished once a point within epsilon is found.
            If False, the search for the nearest point continues.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> result = kmtard.attacks.RayS(8 / 255, queries=500).run(model, x, y)
        >>> queries = result.queries[result.success]
    """

    @checked
    def __init__(
        self,
        epsilon: AnyRadius = 8 / 255,
        *,
        queries: Queries = 100,
        strict_budget: bool = False,
        early_stop: bool = True,
    ) -> None:
        self.epsilon = epsilon
        self.queries = int(queries)
        self.strict_budget = strict_budget
        self.early_stop = early_stop

    def attack_batch(self, classifier: Classifier, batch: AttackBatch) -> Found:
        """Return the nearest points within epsilon; see `Attack.attack_batch`."""
        x = batch.x
        correct = batch.where_unfooled(classifier.predict(x))
        radius = ops.reshape(batch.radii(self.epsilon), (-1,))
        state = self._search(classifier, x, batch.y, correct, radius)
        asked = ops.convert_to_numpy(state.queries)
        within = ops.reshape(_found(state, radius), column(x))
        x_adv = ops.where(within, state.nearest, x)
        return Found(x_adv, asked, asked + batch.active, np.zeros_like(asked))

    def search(
        self, classifier: Classifier, x: Tensor, y: Labels, active: np.ndarray
    ) -> Search:
        """Run the search from each image and return its final state.

        Args:
            classifier: the attacked model.
            x: (batch, ...) float32 images.
            y: (batch,) int32 labels.
            active: bool (batch,), the rows to attack.
        """
        radius = ops.full(x.shape[:1], self.epsilon, "float32")
        return self._search(classifier, x, y, active, radius)

    def _search(
        self,
        classifier: Classifier,
        x: Tensor,
        y: Labels,
        active: np.ndarray,
        radius: Tensor,
    ) -> Search:
        size = math.prod(x.shape[1:])
        bisections = math.ceil(math.log2(max(2.0, math.sqrt(size) / TOLERANCE)))

        def unfinished(state: Search) -> np.ndarray:
            return active & ops.convert_to_numpy(self._running(state))

        state, _ = shrinking_loop(
            classifier,
            # The radius is an argument of the compiled step.
            ("rays", *{**self.get_config(), "epsilon": None}.values()),
            functools.partial(self._step, classifier),
            self._begin(x),
            self.queries + (0 if self.strict_budget else bisections),
            (x, y, radius),
            unfinished=unfinished,
            every=CHECK_EVERY,
        )
        return state

    def _begin(self, x: Tensor) -> Search:
        zero = ops.zeros(x.shape[:1], "float32")
        nothing, count = zero > 0, ops.cast(zero, "int32")
        return Search(
            signs=ops.ones_like(x),
            radius=zero + np.inf,
            nearest=ops.ones_like(x),
            distance=ops.max(ops.reshape(1 - x, (x.shape[0], -1)), axis=1),
            tried=count,
            bisecting=nothing,
            low=zero,
            high=zero,
            queries=count,
            needed=count,
            fooled=nothing,
        )

    def _running(self, state: Search) -> Tensor:
        running = state.queries < self.queries
        if not self.strict_budget:
            running = running | state.bisecting
        return running & ~state.fooled if self.early_stop else running

    def _step(
        self,
        classifier: Classifier,
        state: Search,
        x: Tensor,
        y: Labels,
        epsilon: Tensor,
    ) -> Search:
        """Return the state after one query per image."""
        longest = math.sqrt(math.prod(x.shape[1:]))
        signs = self._signs(classifier, state)
        radius = ops.where(state.bisecting, (state.low + state.high) / 2, state.radius)
        asked = _at(x, signs, radius)
        wrong = ops.argmax(classifier.logits(asked), axis=-1) != y
        upper = ops.where(state.bisecting, state.high, state.radius)
        high = ops.where(wrong, ops.minimum(radius, longest), upper)
        low = ops.where(wrong, state.low, radius)
        low = ops.where(state.bisecting, low, 0.0)
        queries = state.queries + 1
        bisecting = ops.where(state.bisecting, high - low > TOLERANCE, wrong)
        if self.strict_budget:
            bisecting = bisecting & (queries < self.queries)
        tried = state._replace(
            tried=state.tried + ops.cast(~bisecting, "int32"),
            bisecting=bisecting,
            low=low,
            high=high,
            queries=queries,
        )
        adopted = self._adopted(tried, signs, x, epsilon)
        running = self._running(state)
        return Search(*map(functools.partial(_where, running), adopted, state))

    def _adopted(
        self, state: Search, signs: Tensor, x: Tensor, epsilon: Tensor
    ) -> Search:
        """Adopt the ray of a finished try if its radius is the smallest so far."""
        ended = ~state.bisecting
        better = ended & (state.high < state.radius)
        nearest = _where(better, _at(x, signs, state.high), state.nearest)
        moved = ops.reshape(ops.abs(nearest - x), (x.shape[0], -1))
        state = state._replace(
            signs=_where(better, signs, state.signs),
            radius=ops.where(better, state.high, state.radius),
            nearest=nearest,
            distance=ops.max(moved, axis=1),
        )
        return state._replace(
            needed=ops.where(ended & ~state.fooled, state.queries, state.needed),
            fooled=ops.where(ended, _found(state, epsilon), state.fooled),
        )

    def _signs(self, classifier: Classifier, state: Search) -> Tensor:
        shape = tuple(state.signs.shape[1:])
        place = ops.convert_to_tensor(_places(shape, classifier.channels_last))
        # Finished images may have no try left; their result is not used.
        number = ops.minimum(state.tried, self.queries - 1)
        first, end = (
            ops.reshape(ops.take(edges, number), column(state.signs))
            for edges in blocks(math.prod(shape), self.queries).T
        )
        turned = (place >= first) & (place < end)
        return ops.where(turned, -state.signs, state.signs)


def _found(state: Search, epsilon: float | Tensor) -> Tensor:
    return (state.radius < np.inf) & (state.distance <= epsilon)


def rays_100(*, epsilon: AnyRadius = 8 / 255) -> RayS:
    """RayS with 100 queries, as in the papers' black-box table."""
    return RayS(epsilon, queries=100)


def blocks(size: int, tries: int) -> np.ndarray:
    """Return the block of pixel values whose signs each try flips.

    Level l has up to 2^l blocks of ceil(size / 2^l) values. Levels with blocks of one
    value repeat.

    Args:
        size: number of pixel values, >= 1.
        tries: number of blocks to return.

    Returns:
        int32 (tries, 2), the first position of a block, and one after its last.
    """
    edges: list[tuple[int, int]] = []
    level = 0
    while len(edges) < tries:
        length = -(-size // 2**level)
        edges += [
            (first, min(first + length, size)) for first in range(0, size, length)
        ]
        level += 1
    return np.array(edges[:tries], "int32")


def _places(shape: tuple[int, ...], channels_last: bool) -> np.ndarray:
    """Number the pixel values in the order channel, row, column, for any layout."""
    if not (channels_last and len(shape) == 3):
        return np.arange(math.prod(shape), dtype="int32").reshape(shape)
    height, width, channels = shape
    return _places((channels, height, width), False).transpose(1, 2, 0)


def _at(x: Tensor, signs: Tensor, radius: Tensor) -> Tensor:
    unit = signs / math.sqrt(math.prod(x.shape[1:]))
    return ops.clip(x + ops.reshape(radius, column(x)) * unit, 0.0, 1.0)


def _where(rows: Tensor, one: Tensor, other: Tensor) -> Tensor:
    return ops.where(ops.reshape(rows, column(one)), one, other)
