"""HopSkipJump: a walk along the decision boundary that uses only decisions."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from kmtard.attacks import counter
from kmtard.attacks.arguments import one_of
from kmtard.attacks.base import AttackBatch, select
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.gradient_estimation import ROWS
from kmtard.attacks.minimal_norm import MinimalNorm, Nearest, succeeds
from kmtard.attacks.norms import NORMS, column, l2_norm
from kmtard.attacks.shrinking import shrinking_loop
from kmtard.backend.types import Labels, Tensor
from kmtard.registry.ranges import AnyRadius, Queries, Repeats, checked

FIRST_DELTA = 0.1
"""Distance of the samples from the first boundary point, a Euclidean length."""

BLENDS = 10
"""Number of halvings between x and the random start, to a thousandth."""

MOST_BISECTIONS = 24
"""Largest number of halvings, because float32 numbers have 24 binary digits."""

MOST_JUMPS = 30
"""Largest number of halvings of a jump, after which it is shorter than rounding."""

CHECKS = 2
"""Number of queries besides the search: the first prediction, and a last check."""

TINY = 1e-12
"""Constant in denominators."""


class Walk(NamedTuple):
    """State of the search, one entry per image.

    Attributes:
        u: (batch, ...) the current point, a success near the boundary.
        distance: (batch,) its distance from x.
        landing: (batch,) the distance from x before the last bisection.
        queries: int32 (batch,), number of queries so far.
        nearest: the nearest success so far.
    """

    u: Tensor
    distance: Tensor
    landing: Tensor
    queries: Tensor
    nearest: Nearest


class Bisection(NamedTuple):
    """State of a bisection, one entry per image.

    Attributes:
        low: (batch,) largest known position without success.
        high: (batch,) smallest known position with success.
        image: (batch, ...) the point at `high`.
    """

    low: Tensor
    high: Tensor
    image: Tensor


class Estimate(NamedTuple):
    """Sums over the samples of a gradient estimate, one entry per image.

    Attributes:
        signed: (batch, ...) sum of the directions times 1 (success) or -1.
        plain: (batch, ...) sum of the directions.
        signs: (batch,) sum of the numbers 1 and -1.
        drawn: int32 (batch,), the number of the next random direction.
    """

    signed: Tensor
    plain: Tensor
    signs: Tensor
    drawn: Tensor


class Jump(NamedTuple):
    """State of the search for a step size, one entry per image.

    Attributes:
        size: (batch,) the step size to try.
        image: (batch, ...) the point after the step.
        landed: bool (batch,), whether this point is a success.
        queries: int32 (batch,), number of queries so far.
    """

    size: Tensor
    image: Tensor
    landed: Tensor
    queries: Tensor


@keras.saving.register_keras_serializable(package="kmtard")
class HopSkipJump(MinimalNorm):
    """HopSkipJump, a decision-based attack that minimizes the distance.

    Chen, Jordan and Wainwright 2020, "HopSkipJumpAttack: A Query-Efficient
    Decision-Based Attack", as in the authors' code. The attack uses only the predicted
    class: neither logits nor gradients. With d pixel values, step t has three parts:

    * Estimate the direction of the gradient at the point u near the boundary. Of
      `samples sqrt(t)` random unit vectors v, each counts as 1 if u + delta v is a
      success and as -1 otherwise, minus the mean of these numbers. `delta` is the
      distance from x before the last bisection, divided by d, and 0.1 in step 1.
    * Jump along this direction, or along its signs in L_inf, by `distance / sqrt(t)`.
      Halve this length until the point is a success.
    * Return to the boundary by a bisection between x and this point, down to a share
      `d^-1.5` (L2) or `d^-2` (L_inf).

    The start is the first success among random images, moved towards x by a bisection.
    The first random image is uniform noise, as in the authors' code. The next ones have
    random squares of 2, 4, 8, ... pixels instead of pixels, and so on in turn, because
    a network may give all noise the same class.

    The nearest success is returned if it is within epsilon, otherwise x. An image is
    not attacked if no start is found; in a targeted attack, this is frequent.

    Args:
        epsilon: radius, >= 0, within which an image counts as fooled; with infinity,
            every success counts.
        queries: largest number of queries per image and run, including the first
            prediction. A step begins only if the queries for its samples and its
            bisection are left.
        samples: number of samples in the first step, >= 1.
        starts: largest number of random images to try as a start, >= 1.
        restarts: number of runs, >= 1, each from a new random start and on the images
            that are not finished. A run may end in a local minimum of the distance, so
            that more runs can find more than more queries.
        norm: "linf" or "l2".
        early_stop: whether an image is finished once a success within epsilon is found.

    Raises:
        ValueError: an argument is out of its range or unknown.

    Example:
        >>> attack = kmtard.attacks.HopSkipJump(0.1, queries=500, samples=20)
        >>> result = attack.run(model, x, y)
        >>> queries = result.queries[result.success]
    """

    @checked
    def __init__(
        self,
        epsilon: AnyRadius = 8 / 255,
        *,
        queries: Queries = 5000,
        samples: Repeats = 100,
        starts: Repeats = 100,
        restarts: Repeats = 1,
        norm: str = "linf",
        early_stop: bool = True,
    ) -> None:
        self.epsilon = epsilon
        self.queries = int(queries)
        self.samples = int(samples)
        self.starts = int(starts)
        self.restarts = int(restarts)
        self.norm = one_of("norm", norm, NORMS)
        self.early_stop = early_stop

    def _search(
        self, classifier: Classifier, batch: AttackBatch, active: np.ndarray
    ) -> tuple[Nearest, np.ndarray, np.ndarray]:
        """Return the nearest successes, and numbers of forward and backward passes.

        Raises:
            ValueError: `queries` does not suffice for a start.
        """
        nearest, queries = self._nothing(batch.x), np.zeros(len(active), int)
        for restart in range(self.restarts):
            rows = self.unfinished(batch, active)(nearest)
            if not rows.any():
                break
            walk = self._run(classifier, batch, rows, restart)
            found = walk.nearest.distance < np.inf
            nearest = nearest.with_iterate(*walk.nearest, found)
            queries += ops.convert_to_numpy(walk.queries)
        return nearest, queries, np.zeros_like(queries)

    def _run(
        self,
        classifier: Classifier,
        batch: AttackBatch,
        active: np.ndarray,
        restart: int,
    ) -> Walk:
        """Return the state after one run."""
        walk, found = self.start(classifier, batch, active, restart)
        unfinished = self.unfinished(batch, found)
        keys = batch.noise.integers(2**31 - 1, (2,), "hop_skip_jump", "keys", restart)
        step, drawn = 1, 0
        while True:
            asked = ops.convert_to_numpy(walk.queries)
            enough = asked + self._cost(walk.u, step) <= self.queries - CHECKS
            rows = select(unfinished(walk.nearest) & enough)
            if not rows.active.any():
                return walk
            part = keras.tree.map_structure(rows.take, walk)
            part = self.step(
                classifier, batch.take(rows), part, rows.take(keys), step, drawn
            )
            walk = keras.tree.map_structure(rows.scatter, walk, part)
            drawn += self._samples(step)
            step += 1

    def start(
        self,
        classifier: Classifier,
        batch: AttackBatch,
        active: np.ndarray,
        restart: int = 0,
    ) -> tuple[Walk, np.ndarray]:
        """Return the first boundary points, and which images have one, bool (batch,).

        Args:
            classifier: the attacked model.
            batch: images, labels and noise.
            active: bool (batch,), the rows to attack.
            restart: the number of the run, >= 0, for the random images.

        Raises:
            ValueError: `queries` does not suffice for a start.
        """
        x, after = batch.x, BLENDS + self._bisections(batch.x)
        most = self.queries - CHECKS - after
        if most < 1:
            raise ValueError(
                f"`queries` must be >= {CHECKS + after + 1} for images of "
                f"{math.prod(x.shape[1:])} values, for a start and its bisection. "
                f"Received: {self.queries}."
            )
        far, found = x, np.zeros(len(active), bool)
        queries = np.zeros(len(active), "int32")
        for attempt in range(min(self.starts, most)):
            rows = select(active & ~found)
            if not rows.active.any():
                break
            part = batch.take(rows)
            images = ops.convert_to_tensor(_random(classifier, part, attempt, restart))
            good = part.active & part.fooled(classifier.predict(images))
            far = rows.scatter(far, ops.where(good.reshape(column(x)), images, part.x))
            queries[rows.rows[part.active]] += 1
            found = found | rows.scatter(np.zeros_like(found), good)
        nothing = self._nothing(x)
        zero = ops.zeros_like(nothing.distance)
        walk = Walk(x, zero, zero, ops.convert_to_tensor(queries), nothing)
        ones = zero + 1
        far = self._bisected(classifier, batch, far, ones, found, "l2", BLENDS)
        walk = _asked(walk, BLENDS, found)
        return self._landed(classifier, batch, walk, far, found), found

    def step(
        self,
        classifier: Classifier,
        batch: AttackBatch,
        walk: Walk,
        keys: np.ndarray,
        step: int,
        drawn: int,
    ) -> Walk:
        """Return the state after one step.

        Args:
            classifier: the attacked model.
            batch: images, labels, and the rows to attack.
            walk: the state before.
            keys: int32 (batch, 2), the keys of the random directions.
            step: the number of the step, >= 1.
            drawn: number of random directions in all steps before.
        """
        delta = walk.landing / math.prod(batch.x.shape[1:])
        delta = ops.full_like(delta, FIRST_DELTA) if step == 1 else delta
        direction = self._estimated(
            classifier, batch, walk.u, delta, keys, drawn, self._samples(step)
        )
        queries = _asked(walk, self._samples(step), batch.active).queries
        size = walk.distance / math.sqrt(step)
        landed = ops.zeros_like(walk.distance) > 0
        most = self.queries - CHECKS - self._bisections(batch.x)

        def unfinished(jump: Jump) -> np.ndarray:
            left = ~jump.landed & (jump.queries < most)
            return batch.active & ops.convert_to_numpy(left)

        jump, _ = shrinking_loop(
            classifier,
            ("hop_skip_jump", "jump", batch.targeted),
            functools.partial(_jump, classifier, batch.targeted),
            Jump(size, walk.u, landed, queries),
            MOST_JUMPS,
            (walk.u, direction, batch.y),
            unfinished=unfinished,
            every=1,
        )
        walk = walk._replace(queries=jump.queries)
        rows = batch.active & ops.convert_to_numpy(jump.landed)
        return self._landed(classifier, batch, walk, jump.image, rows)

    def _landed(
        self,
        classifier: Classifier,
        batch: AttackBatch,
        walk: Walk,
        far: Tensor,
        active: np.ndarray,
    ) -> Walk:
        """Return the state after a bisection between x and the successes `far`."""
        x, count = batch.x, self._bisections(batch.x)
        landing = self._length(far - x)
        high = landing if self.norm == "linf" else ops.ones_like(landing)
        u = self._bisected(classifier, batch, far, high, active, self.norm, count)
        distance = self._length(u - x)
        return Walk(
            ops.where(active.reshape(column(x)), u, walk.u),
            ops.where(active, distance, walk.distance),
            ops.where(active, landing, walk.landing),
            _asked(walk, count, active).queries,
            walk.nearest.with_iterate(u, distance, ops.convert_to_tensor(active)),
        )

    def _bisected(
        self,
        classifier: Classifier,
        batch: AttackBatch,
        far: Tensor,
        high: Tensor,
        active: np.ndarray,
        norm: str,
        count: int,
    ) -> Tensor:
        """Return the successes nearest to x on the way to `far`."""
        found, _ = shrinking_loop(
            classifier,
            ("hop_skip_jump", "bisection", norm, batch.targeted),
            functools.partial(_halve, classifier, batch.targeted, norm),
            Bisection(ops.zeros_like(high), high, far),
            count,
            (batch.x, far, batch.y),
            unfinished=lambda _: active,
            every=count,
        )
        return found.image

    def _estimated(
        self,
        classifier: Classifier,
        batch: AttackBatch,
        u: Tensor,
        delta: Tensor,
        keys: np.ndarray,
        drawn: int,
        samples: int,
    ) -> Tensor:
        """Return the estimated direction of the gradient, or its signs in L_inf."""
        zero = ops.zeros_like(u)
        first = ops.full_like(batch.y, drawn)
        # A small batch would leave most of a GPU idle.
        at_once = min(self.samples, max(1, ROWS // len(batch.active)))
        sums = classifier.loop(
            ("hop_skip_jump", "estimate", self.norm, at_once, batch.targeted),
            functools.partial(_sample, classifier, batch.targeted, self.norm, at_once),
            Estimate(zero, zero, ops.zeros_like(delta), first),
            -(-samples // at_once),
            (u, delta, batch.y, ops.convert_to_tensor(keys), first + samples),
        )
        signs = ops.reshape(sums.signs, column(u))
        one_sided = ops.abs(signs) == samples
        gradient = ops.where(
            one_sided, sums.signed, sums.signed - signs / samples * sums.plain
        )
        if self.norm == "linf":
            return ops.sign(gradient)
        return gradient / (l2_norm(gradient) + TINY)

    def _samples(self, step: int) -> int:
        return int(self.samples * math.sqrt(step))

    def _bisections(self, x: Tensor) -> int:
        """Return the number of halvings down to the share `d^-1.5` or `d^-2`."""
        exponent = 2.0 if self.norm == "linf" else 1.5
        halvings = math.ceil(exponent * math.log2(math.prod(x.shape[1:])))
        return min(max(halvings, 1), MOST_BISECTIONS)

    def _cost(self, x: Tensor, step: int) -> int:
        """Return the smallest number of queries of a step."""
        return self._samples(step) + 1 + self._bisections(x)


def _asked(walk: Walk, count: int, rows: np.ndarray) -> Walk:
    """Return the state after a number of queries for some rows, bool (batch,)."""
    queries = ops.convert_to_tensor(count * rows.astype("int32"))
    return walk._replace(queries=walk.queries + queries)


def _success(
    classifier: Classifier, images: Tensor, y: Labels, targeted: bool
) -> Tensor:
    """Return bool (batch,): the decisions, the only use of the model."""
    return succeeds(classifier.logits(images), y, targeted)


def _halve(
    classifier: Classifier,
    targeted: bool,
    norm: str,
    state: Bisection,
    x: Tensor,
    far: Tensor,
    y: Labels,
) -> Bisection:
    middle = (state.low + state.high) / 2
    place = ops.reshape(middle, column(x))
    if norm == "linf":
        image = ops.clip(far, x - place, x + place)
    else:
        image = (1 - place) * x + place * far
    image = ops.clip(image, 0.0, 1.0)
    good = _success(classifier, image, y, targeted)
    return Bisection(
        ops.where(good, state.low, middle),
        ops.where(good, middle, state.high),
        ops.where(ops.reshape(good, column(x)), image, state.image),
    )


def _sample(
    classifier: Classifier,
    targeted: bool,
    norm: str,
    count: int,
    state: Estimate,
    u: Tensor,
    delta: Tensor,
    y: Labels,
    keys: Tensor,
    stop: Tensor,
) -> Estimate:
    """Add the next random directions to the sums, up to the number `stop`."""
    number = state.drawn[:, None] + ops.arange(count, dtype="int32")
    direction = directions(u, keys, number, norm)
    delta = ops.reshape(delta, (-1, *[1] * (len(direction.shape) - 1)))
    images = ops.clip(u[:, None] + delta * direction, 0.0, 1.0)
    direction = (images - u[:, None]) / (delta + TINY)
    images = ops.reshape(images, (-1, *u.shape[1:]))
    good = _success(classifier, images, ops.repeat(y, count), targeted)
    sign = ops.where(ops.reshape(good, (-1, count)), 1.0, -1.0)
    used = ops.cast(number < stop[:, None], "float32")
    shape = (*used.shape, *column(u)[1:])
    return Estimate(
        state.signed + ops.sum(ops.reshape(used * sign, shape) * direction, axis=1),
        state.plain + ops.sum(ops.reshape(used, shape) * direction, axis=1),
        state.signs + ops.sum(used * sign, axis=1),
        ops.minimum(state.drawn + count, stop),
    )


def directions(u: Tensor, keys: Tensor, number: Tensor, norm: str) -> Tensor:
    """Return random directions of Euclidean length 1.

    Args:
        u: (batch, ...) images, for their shape.
        keys: (batch, 2) int32, one key per image.
        number: int32 (batch, n), the numbers of the directions.
        norm: "l2" for normal entries before the division by the length, "linf" for
            uniform ones in [-1, 1).

    Returns:
        (batch, n, ...).
    """
    size = math.prod(u.shape[1:])
    if norm == "linf":
        values = 2 * counter.uniform(counter.words(keys, size, number)[0]) - 1
    else:
        values = counter.normal(keys, size, number)
    length = ops.sqrt(ops.sum(ops.square(values), axis=-1, keepdims=True))
    return ops.reshape(values / (length + TINY), (*number.shape, *u.shape[1:]))


def _jump(
    classifier: Classifier,
    targeted: bool,
    state: Jump,
    u: Tensor,
    direction: Tensor,
    y: Labels,
) -> Jump:
    size = ops.reshape(state.size, column(u))
    image = ops.clip(u + size * direction, 0.0, 1.0)
    good = _success(classifier, image, y, targeted)
    trying = ~state.landed
    taken = ops.reshape(trying & good, column(u))
    return Jump(
        ops.where(trying & ~good, state.size / 2, state.size),
        ops.where(taken, image, state.image),
        state.landed | good,
        state.queries + ops.cast(trying, "int32"),
    )


def _random(
    classifier: Classifier, batch: AttackBatch, attempt: int, restart: int
) -> np.ndarray:
    """Return random images: uniform noise, or squares of a larger side in turn."""
    shape = tuple(batch.x.shape[1:])
    first = 0 if classifier.channels_last or len(shape) != 3 else 1
    axes = [axis + 1 for axis in range(len(shape))][first : first + 2]
    sides = 1 + math.ceil(math.log2(max(batch.x.shape[axis] for axis in axes)))
    side = 2 ** (attempt % sides)
    values = batch.noise.uniform(shape, "hop_skip_jump", restart, attempt)
    for axis in axes:
        values = values.take(np.arange(values.shape[axis]) // side * side, axis=axis)
    return values
