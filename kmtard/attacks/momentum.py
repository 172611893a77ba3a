"""FGSM with momentum, for images that also fool other networks: MI, NI, DI2 and TI."""

from __future__ import annotations

import functools
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from kmtard import backend, losses
from kmtard.attacks import counter
from kmtard.attacks.base import Attack, AttackBatch, Found
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.norms import column, projection
from kmtard.backend.types import Labels, Tensor
from kmtard.registry.ranges import (
    InnerShare,
    Padding,
    PositiveShare,
    Radius,
    Share,
    Steps,
    checked,
)

REACH = 3.0
"""Distance from the center to the edge of the kernel, in standard deviations."""


class Iterate(NamedTuple):
    """State of the attack, one entry per image.

    Attributes:
        u: (batch, ...) the current iterate.
        velocity: (batch, ...) the accumulated gradient.
        step: int32 (batch,), number of steps so far.
    """

    u: Tensor
    velocity: Tensor
    step: Tensor


class Resizing(NamedTuple):
    """The random choices for diverse inputs in one step, one entry per image.

    Attributes:
        used: bool (batch,), whether the image is resized.
        height: int32 (batch,), height of the resized image.
        width: int32 (batch,), its width.
        top: int32 (batch,), number of black rows above it.
        left: int32 (batch,), number of black columns to its left.
    """

    used: Tensor
    height: Tensor
    width: Tensor
    top: Tensor
    left: Tensor


@keras.saving.register_keras_serializable(package="kmtard")
class MomentumFGSM(Attack):
    """Iterated FGSM with an accumulated gradient, in the L_inf ball.

    A step is `velocity <- decay * velocity + g / mean(|g|)`,
    `u <- P(u + step_size sign(velocity))`. Here g is the gradient of the cross-entropy,
    and P projects onto the ball and [0, 1]. The attack starts at x, and the last
    iterate is returned. The options add up:

    * Momentum, `decay` (MI-FGSM, Dong et al. 2018).
    * Nesterov's gradient, at `u + decay * step_size * velocity` (NI-FGSM, Lin et al.
      2020).
    * Diverse inputs (DI2-FGSM, Xie et al. 2019): in each step, with probability
      `diversity`, the network sees a smaller copy of the image at a random place of a
      black image.
    * Translation invariance (TI-FGSM, Dong et al. 2019): a Gaussian kernel blurs the
      gradient.

    The images of such attacks fool other networks more often than those of PGD; see
    `Transfer`.

    Args:
        epsilon: radius in pixel intensity, >= 0.
        step_size: length of a step in pixel intensity, >= 0.
        steps: number of steps, >= 0.
        decay: factor of the accumulated gradient in each step, in [0, 1].
        nesterov: whether to compute the gradient where the momentum leads.
        diversity: probability of a resized image, in [0, 1].
        resize: smallest side of a resized image, as a share of the side, in (0, 1).
        kernel: side of the Gaussian kernel in pixels, odd; 0 for none. Its standard
            deviation is a sixth of the side.

    Raises:
        ValueError: an argument is out of its range, or `kernel` is even.

    Example:
        >>> attack = kmtard.attacks.MomentumFGSM(0.1, diversity=0.5, kernel=7)
        >>> x_adv = kmtard.attacks.Transfer(attack, surrogate=teacher)(model, x, y)
    """

    can_target = True

    @checked
    def __init__(
        self,
        epsilon: Radius = 8 / 255,
        *,
        step_size: Radius = 2 / 255,
        steps: Steps = 10,
        decay: Share = 1.0,
        nesterov: bool = False,
        diversity: Share = 0.0,
        resize: InnerShare = 0.9,
        kernel: Padding = 0,
    ) -> None:
        self.epsilon = epsilon
        self.step_size = step_size
        self.steps = int(steps)
        self.decay = decay
        self.nesterov = nesterov
        self.diversity = diversity
        self.resize = resize
        self.kernel = int(kernel)
        if kernel and kernel % 2 == 0:
            raise ValueError(f"`kernel` must be odd, or 0. Received: {kernel!r}.")

    def attack_batch(self, classifier: Classifier, batch: AttackBatch) -> Found:
        """Return the last iterates; see `Attack.attack_batch`."""
        x, y = batch.x, batch.y
        keys = batch.noise.integers(2**31 - 1, (2,), "momentum")
        sizes = (
            batch.radii(self.epsilon),
            batch.step_sizes(self.step_size, self.epsilon),
        )
        # Radius and step size are arguments of the compiled step.
        settings = {**self.get_config(), "epsilon": None, "step_size": None}
        state = classifier.loop(
            ("momentum", *settings.values(), batch.targeted),
            functools.partial(self._step, classifier, batch.targeted),
            Iterate(x, ops.zeros_like(x), ops.zeros_like(y)),
            self.steps,
            (x, y, ops.convert_to_tensor(keys), *sizes),
        )
        x_adv = ops.where(batch.active.reshape(column(x)), state.u, x)
        steps = self.steps * batch.active
        return Found(x_adv, queries=steps, forwards=steps, backwards=steps)

    def _step(
        self,
        classifier: Classifier,
        targeted: bool,
        state: Iterate,
        x: Tensor,
        y: Labels,
        keys: Tensor,
        epsilon: Tensor,
        step_size: Tensor,
    ) -> Iterate:
        u = state.u
        if self.nesterov:
            u = u + self.decay * step_size * state.velocity
        last = classifier.channels_last
        resizing = drawn(x, keys, state.step, self.diversity, self.resize, last)

        def objective(u: Tensor) -> Tensor:
            if self.diversity:
                u = resized(u, resizing, channels_last=last)
            loss = losses.amplified(
                lambda logits: losses.cross_entropy(y, logits), classifier.model
            )
            values = loss(classifier.logits(u))
            return -values if targeted else values

        gradient = backend.input_gradient(objective, u)
        if self.kernel:
            gradient = blurred(gradient, self.kernel, channels_last=last)
        axes = tuple(range(1, len(x.shape)))
        size = ops.mean(ops.abs(gradient), axis=axes, keepdims=True)
        gradient = gradient / ops.where(size > 0, size, 1.0)
        velocity = self.decay * state.velocity + gradient
        u = projection(x, epsilon, "linf")(state.u + step_size * ops.sign(velocity))
        return Iterate(u, velocity, state.step + 1)


def drawn(
    x: Tensor,
    keys: Tensor,
    step: Tensor,
    diversity: float,
    resize: float,
    channels_last: bool,
) -> Resizing:
    """Return the random choices of one step.

    As in the code of torchattacks, the resized side is below the side of the image, and
    there is no black row above the image if there is only one.

    Args:
        x: (batch, ...) images.
        keys: (batch, 2) int32, one key per image; see `counter`.
        step: int32 (batch,), number of the step.
        diversity: probability of a resized image.
        resize: smallest side, as a share of the side.
        channels_last: whether the images are (height, width, channels).
    """
    height, width = x.shape[1:3] if channels_last else x.shape[2:4]
    first, second = counter.words(keys, 3, step)
    smallest = int(resize * height), int(resize * width)
    tall, wide = (
        low + counter.below(first[:, 0], side - low)
        for low, side in zip(smallest, (height, width), strict=True)
    )
    return Resizing(
        used=counter.uniform(second[:, 0]) < diversity,
        height=tall,
        width=wide,
        top=counter.below(first[:, 1], height - tall),
        left=counter.below(first[:, 2], width - wide),
    )


def resized(x: Tensor, resizing: Resizing, *, channels_last: bool) -> Tensor:
    """Return images of the same shape with a smaller copy on black, where used."""
    height, width = x.shape[1:3] if channels_last else x.shape[2:4]
    rows = _scaling(height, resizing.height, resizing.top)
    columns = _scaling(width, resizing.width, resizing.left)
    small = _product(rows, columns, x, channels_last)
    return ops.where(ops.reshape(resizing.used, column(x)), small, x)


def blurred(gradient: Tensor, kernel: int, *, channels_last: bool) -> Tensor:
    """Return gradients convolved with a Gaussian kernel, with zeros outside."""
    height, width = gradient.shape[1:3] if channels_last else gradient.shape[2:4]
    rows, columns = _blurring(height, kernel), _blurring(width, kernel)
    return _product(rows, columns, gradient, channels_last)


def _scaling(side: int, smaller: Tensor, offset: Tensor) -> Tensor:
    """Return the matrices of bilinear scaling along an axis, (batch, side, side)."""
    place = ops.arange(side, dtype="int32") - offset[:, None]
    smaller = smaller[:, None]
    inside = (place >= 0) & (place < smaller)
    center = (ops.cast(place, "float32") + 0.5) * side
    source = ops.maximum(center / ops.cast(smaller, "float32") - 0.5, 0.0)
    source = ops.minimum(source, side - 1.0)[..., None]
    # A pixel contributes in proportion to one minus its distance.
    distance = ops.abs(source - ops.arange(side, dtype="float32"))
    return ops.where(inside[..., None], ops.maximum(1.0 - distance, 0.0), 0.0)


def _blurring(side: int, kernel: int) -> Tensor:
    """Return the matrix of a Gaussian convolution along an axis, (1, side, side)."""
    weights = np.exp(-0.5 * np.linspace(-REACH, REACH, kernel) ** 2)
    weights = (weights / weights.sum()).astype("float32")
    place = np.arange(side)
    index = place[:, None] - place + kernel // 2
    inside = (index >= 0) & (index < kernel)
    matrix = np.where(inside, weights[np.clip(index, 0, kernel - 1)], 0)
    return ops.convert_to_tensor(matrix[None])


def _product(
    rows: Tensor, columns: Tensor, images: Tensor, channels_last: bool
) -> Tensor:
    """Multiply the rows and the columns of images by one matrix each."""
    if channels_last:
        moved = ops.transpose(images, (0, 3, 1, 2))
        moved = _product(rows, columns, moved, channels_last=False)
        return ops.transpose(moved, (0, 2, 3, 1))
    left, right = rows[:, None], ops.transpose(columns, (0, 2, 1))[:, None]
    return ops.matmul(ops.matmul(left, images), right)


def mi_fgsm(
    *, epsilon: Radius = 8 / 255, step_size: Radius = 2 / 255, steps: Steps = 10
) -> MomentumFGSM:
    """MI-FGSM (Dong et al. 2018): iterated FGSM with momentum."""
    return MomentumFGSM(epsilon, step_size=step_size, steps=steps)


def ni_fgsm(
    *, epsilon: Radius = 8 / 255, step_size: Radius = 2 / 255, steps: Steps = 10
) -> MomentumFGSM:
    """NI-FGSM (Lin et al. 2020): the same, with Nesterov's gradient."""
    return MomentumFGSM(epsilon, step_size=step_size, steps=steps, nesterov=True)


def di2_fgsm(
    *,
    epsilon: Radius = 8 / 255,
    step_size: Radius = 2 / 255,
    steps: Steps = 10,
    decay: Share = 0.0,
    diversity: PositiveShare = 0.5,
) -> MomentumFGSM:
    """DI2-FGSM (Xie et al. 2019): iterated FGSM on randomly resized images."""
    return MomentumFGSM(
        epsilon, step_size=step_size, steps=steps, decay=decay, diversity=diversity
    )


def ti_fgsm(
    *,
    epsilon: Radius = 8 / 255,
    step_size: Radius = 2 / 255,
    steps: Steps = 10,
    decay: Share = 0.0,
    kernel: Padding = 15,
) -> MomentumFGSM:
    """TI-FGSM (Dong et al. 2019): iterated FGSM with a blurred gradient."""
    return MomentumFGSM(
        epsilon, step_size=step_size, steps=steps, decay=decay, kernel=kernel
    )
