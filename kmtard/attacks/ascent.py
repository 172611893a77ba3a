"""The update rules of Auto-PGD (Croce and Hein 2020) as pure functions of a state."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from keras import ops

from kmtard.attacks.norms import column, projection, steepest
from kmtard.backend.types import Tensor

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
"""Function of images that returns the loss (batch,), its gradient (batch, ...) and bool
(batch,), whether each image is misclassified.
"""

INERTIA = 0.25
"""Weight of the previous step in every step but the first."""


class Ascent(NamedTuple):
    """State of the search, one entry per image.

    Attributes:
        u: (batch, ...) the current iterate.
        previous: (batch, ...) the previous iterate.
        gradient: (batch, ...) gradient of the loss at `u`.
        loss: (batch,) loss at `u`.
        inertia: (batch,) weight of the previous step.
        step_size: (batch,) in pixel intensity.
        best: (batch, ...) the iterate with the largest loss so far.
        best_gradient: (batch, ...) gradient at `best`.
        best_loss: (batch,) loss at `best`.
        checked_loss: (batch,) `best_loss` at the last checkpoint of the search.
        increases: (batch,) number of steps since then that increased the loss.
        halved: bool (batch,), whether the step size was halved at that checkpoint.
        fooled: bool (batch,), whether any iterate was misclassified.
        adversarial: (batch, ...) the last misclassified iterate.
    """

    u: Tensor
    previous: Tensor
    gradient: Tensor
    loss: Tensor
    inertia: Tensor
    step_size: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    checked_loss: Tensor
    increases: Tensor
    halved: Tensor
    fooled: Tensor
    adversarial: Tensor


def windows(steps: int) -> list[int]:
    """Return the number of steps between consecutive checkpoints of the search.

    The first window has 22% of all steps. Each later one is shorter by 3% of all steps,
    down to 6%. The sum is at most `steps`.

    Args:
        steps: number of steps, >= 0.
    """
    lengths, left, length = [], steps, max(int(0.22 * steps), 1)
    while length <= left:
        lengths.append(length)
        left -= length
        length = max(length - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1))
    return lengths


def begin(evaluate: Evaluate, start: Tensor, epsilon: Tensor) -> Ascent:
    """Return the initial state, with `start` as the first iterate.

    Args:
        evaluate: evaluates the model at (batch, ...) images.
        start: (batch, ...) images in [0, 1].
        epsilon: (batch, 1, ...) radius of the ball; the first step size is 2 epsilon.
    """
    loss, gradient, wrong = evaluate(start)
    zeros = ops.zeros_like(loss)
    return Ascent(
        u=start,
        previous=start,
        gradient=gradient,
        # As in the authors' code, the loss of the first step is compared with zero.
        loss=zeros,
        inertia=zeros,
        step_size=2 * ops.reshape(epsilon, zeros.shape),
        best=start,
        best_gradient=gradient,
        best_loss=loss,
        checked_loss=loss,
        increases=zeros,
        halved=ops.ones_like(wrong),
        fooled=wrong,
        adversarial=start,
    )


def step(
    evaluate: Evaluate, state: Ascent, x: Tensor, epsilon: Tensor, norm: str
) -> Ascent:
    """Return the state after one step of each image; see `APGD` for the formula."""
    shape, project = column(x), projection(x, epsilon, norm)
    size = ops.reshape(state.step_size, shape)
    inertia = ops.reshape(state.inertia, shape)
    w = project(state.u + size * steepest(state.gradient, norm))
    momentum = inertia * (state.u - state.previous)
    u = project(state.u + (1 - inertia) * (w - state.u) + momentum)
    loss, gradient, wrong = evaluate(u)
    better = loss > state.best_loss
    better_image = ops.reshape(better, shape)
    return state._replace(
        u=u,
        previous=state.u,
        gradient=gradient,
        loss=loss,
        inertia=ops.full_like(loss, INERTIA),
        best=ops.where(better_image, u, state.best),
        best_gradient=ops.where(better_image, gradient, state.best_gradient),
        best_loss=ops.where(better, loss, state.best_loss),
        increases=state.increases + ops.cast(loss > state.loss, loss.dtype),
        fooled=state.fooled | wrong,
        adversarial=ops.where(ops.reshape(wrong, shape), u, state.adversarial),
    )


def check(state: Ascent, length: Tensor, rho: float) -> Ascent:
    """Halve the step size where the last `length` steps made too little progress.

    These images also return to their best iterate. See `APGD` for the conditions.
    """
    stalled = ~state.halved & (state.best_loss <= state.checked_loss)
    halved = stalled | (state.increases <= rho * length)
    back = ops.reshape(halved, column(state.u))
    return state._replace(
        u=ops.where(back, state.best, state.u),
        gradient=ops.where(back, state.best_gradient, state.gradient),
        step_size=ops.where(halved, state.step_size / 2, state.step_size),
        checked_loss=state.best_loss,
        increases=ops.zeros_like(state.increases),
        halved=halved,
    )
