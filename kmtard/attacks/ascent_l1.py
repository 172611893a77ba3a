"""The update rules of Auto-PGD in the L1 ball as pure functions of a state.

Croce and Hein 2021, "Mind the box: l1-APGD for sparse adversarial attacks on image
classifiers". They compute what the authors' code in github.com/fra31/auto-attack does.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from keras import ops

from kmtard.attacks.ascent import Evaluate
from kmtard.attacks.norms import column
from kmtard.backend.types import Tensor

REDUCTION = 1.5
"""What the step size is divided by while the perturbation does not become sparser."""

SMALLEST = 10.0
"""The smallest step size is epsilon divided by this number."""

BISECTIONS = 30
"""Number of halvings in a projection, more than float32 resolves."""

RADII = (3.0, 2.0, 1.0)
"""The radii of a search that begins with larger balls, in units of epsilon."""


class SparseAscent(NamedTuple):
    """State of the search, one entry per image.

    Attributes:
        u: (batch, ...) the current iterate.
        gradient: (batch, ...) gradient of the loss at `u`.
        step_size: (batch,) L1 length of a step.
        kept: int32 (batch,), number of pixel values that a step changes, unless some
            entries of the gradient are equal in size.
        changed: int32 (batch,), number of pixel values in which `best` differed from x
            at the last checkpoint.
        taken: int32 (batch,), number of steps so far.
        best: (batch, ...) the iterate with the largest loss so far.
        best_gradient: (batch, ...) gradient at `best`.
        best_loss: (batch,) loss at `best`.
        fooled: bool (batch,), whether any iterate was misclassified.
        adversarial: (batch, ...) the last misclassified iterate.
    """

    u: Tensor
    gradient: Tensor
    step_size: Tensor
    kept: Tensor
    changed: Tensor
    taken: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    fooled: Tensor
    adversarial: Tensor


def window(steps: int) -> int:
    """Return the number of steps between checkpoints: 4 % of all steps, at least 1."""
    return max(steps // 25, 1)


def stages(steps: int) -> list[tuple[float, int]]:
    """Return the radii in units of epsilon, and the number of steps in each ball.

    The two larger balls get 30 % of the steps each, rounded up.

    Args:
        steps: number of all steps, >= 0.

    Example:
        >>> stages(100)
        [(3.0, 30), (2.0, 30), (1.0, 40)]
    """
    larger = min(-(-3 * steps // 10), steps // 2)
    return list(zip(RADII, (larger, larger, steps - 2 * larger), strict=True))


def project(change: Tensor, x: Tensor, epsilon: float | Tensor) -> Tensor:
    """Return the nearest change that keeps within the L1 ball and the box.

    With `room` the distance from x to the face of [0, 1] in the direction of the
    change, the solution is `sign(change) min(max(|change| - cut, 0), room)`. `cut` is
    the smallest number >= 0 for which the L1 length is at most epsilon. The length
    never increases with `cut`, so that a bisection finds it; its upper end never leaves
    the ball. Sorting, as in the authors' code, has the same result, but cumulative sums
    of float32 numbers are less exact.

    Args:
        change: (batch, ...) any values.
        x: (batch, ...) images in [0, 1].
        epsilon: radius, one number or (batch, 1, ...).

    Returns:
        (batch, ...), such that `x` plus it is in [0, 1].
    """
    size = ops.abs(change)
    room = ops.where(change > 0, 1.0 - x, x)
    axes = tuple(range(1, len(x.shape)))

    def left(cut: Tensor) -> Tensor:
        return ops.minimum(ops.maximum(size - cut, 0.0), room)

    def length(cut: Tensor) -> Tensor:
        return ops.sum(left(cut), axis=axes, keepdims=True)

    def halved(_: Tensor, ends: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        low, high = ends
        middle = (low + high) / 2.0
        outside = length(middle) > epsilon
        return ops.where(outside, middle, low), ops.where(outside, high, middle)

    high = ops.max(size, axis=axes, keepdims=True)
    low = ops.zeros_like(high)
    _, cut = ops.fori_loop(0, BISECTIONS, halved, (low, high))
    cut = ops.where(length(low) <= epsilon, low, cut)
    return ops.sign(change) * left(cut)


def begin(
    evaluate: Evaluate, start: Tensor, x: Tensor, epsilon: Tensor, *, sparse: bool
) -> SparseAscent:
    """Return the initial state, with `start` as the first iterate.

    Args:
        evaluate: evaluates the model at (batch, ...) images.
        start: (batch, ...) images in the ball and in [0, 1].
        x: (batch, ...) images, the centers of the balls.
        epsilon: (batch, 1, ...) radius of the ball; the first step size is epsilon.
        sparse: whether the first steps change as few pixel values as after a
            checkpoint at `start`; otherwise, a fifth of all.
    """
    loss, gradient, wrong = evaluate(start)
    every = math.prod(x.shape[1:])
    count = _changed(start, x)
    if not sparse:
        count = ops.full_like(count, every)
    fifth = ops.full_like(count, -(-every // 5))
    return SparseAscent(
        u=start,
        gradient=gradient,
        step_size=ops.reshape(epsilon, loss.shape),
        kept=_kept(count) if sparse else fifth,
        changed=count,
        taken=ops.zeros_like(count),
        best=start,
        best_gradient=gradient,
        best_loss=loss,
        fooled=wrong,
        adversarial=start,
    )


def step(
    evaluate: Evaluate,
    state: SparseAscent,
    x: Tensor,
    epsilon: Tensor,
    every: int,
) -> SparseAscent:
    """Return the state after one step of each image; see `APGD` for the formula.

    Args:
        evaluate: evaluates the model at (batch, ...) images.
        state: the state before.
        x: (batch, ...) images, the centers of the balls.
        epsilon: (batch, 1, ...) radius of the ball.
        every: number of steps between checkpoints, >= 1.
    """
    shape = column(x)
    signs = ops.sign(largest(state.gradient, state.kept))
    axes = tuple(range(1, len(x.shape)))
    count = ops.sum(ops.abs(signs), axis=axes, keepdims=True)
    move = ops.reshape(state.step_size, shape) * signs / ops.maximum(count, 1.0)
    u = ops.clip(x + project(state.u + move - x, x, epsilon), 0.0, 1.0)
    loss, gradient, wrong = evaluate(u)
    better = loss > state.best_loss
    better_image = ops.reshape(better, shape)
    state = state._replace(
        u=u,
        gradient=gradient,
        taken=state.taken + 1,
        best=ops.where(better_image, u, state.best),
        best_gradient=ops.where(better_image, gradient, state.best_gradient),
        best_loss=ops.where(better, loss, state.best_loss),
        fooled=state.fooled | wrong,
        adversarial=ops.where(ops.reshape(wrong, shape), u, state.adversarial),
    )
    return _checked(state, x, epsilon, state.taken % every == 0)


def largest(gradient: Tensor, kept: Tensor) -> Tensor:
    """Return a gradient with all but its largest entries set to 0.

    Args:
        gradient: (batch, ...).
        kept: int32 (batch,), number of entries to keep, >= 1. Entries as large as the
            last of them are kept too.
    """
    sizes = ops.abs(gradient)
    ordered = ops.sort(ops.reshape(sizes, (sizes.shape[0], -1)), axis=1)
    place = ordered.shape[1] - kept[:, None]
    least = ops.take_along_axis(ordered, place, axis=1)
    return ops.where(sizes >= ops.reshape(least, column(sizes)), gradient, 0.0)


def _checked(
    state: SparseAscent, x: Tensor, epsilon: Tensor, now: Tensor
) -> SparseAscent:
    """Adapt the steps of the images that are at a checkpoint.

    Args:
        state: the state after a step.
        x: (batch, ...) images, the centers of the balls.
        epsilon: (batch, 1, ...) radius of the ball.
        now: bool (batch,), whether an image is at a checkpoint.
    """
    count, radius = _changed(state.best, x), ops.reshape(epsilon, now.shape)
    # Below 95 %, in whole numbers, so that rounding decides nothing.
    sparser = 20 * count < 19 * state.changed
    smaller = ops.maximum(state.step_size / REDUCTION, radius / SMALLEST)
    step_size = ops.where(sparser, radius, smaller)
    back = ops.reshape(now & sparser, column(x))
    return state._replace(
        u=ops.where(back, state.best, state.u),
        gradient=ops.where(back, state.best_gradient, state.gradient),
        step_size=ops.where(now, step_size, state.step_size),
        kept=ops.where(now, _kept(count), state.kept),
        changed=ops.where(now, count, state.changed),
    )


def _changed(images: Tensor, x: Tensor) -> Tensor:
    """Return the number of pixel values in which images differ, int32 (batch,)."""
    differ = ops.cast(images != x, "int32")
    return ops.sum(ops.reshape(differ, (x.shape[0], -1)), axis=1)


def _kept(count: Tensor) -> Tensor:
    """Return two thirds of a number of pixel values, rounded up, at least 1."""
    return ops.maximum((2 * count + 2) // 3, 1)
