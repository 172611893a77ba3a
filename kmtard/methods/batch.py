"""The data that a training step passes to a method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import keras
from keras import ops

from kmtard.attacks.inputs import check_floating, check_label_shape
from kmtard.backend.types import Tensor


class Logits(NamedTuple):
    """The student's logits on clean and on adversarial images, in the order of passes.

    Attributes:
        nat: logits on the clean images, one (batch, classes) tensor per pass.
        adv: logits on the adversarial images, one (batch, classes) tensor per pass.
    """

    nat: tuple[Tensor, ...] = ()
    adv: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Batch:
    """One batch of a training or evaluation step.

    Attributes:
        x_nat: (batch, height, width, channels), the clean images in [0, 1].
        x_adv: the adversarial images, of the same shape; `x_nat` itself if the method
            has no attack.
        y: (batch,) integer labels.
        sample_weight: (batch,) weights, or None.
        training: whether this is a training step. In `test_step` it is False, and no
            variable may be assigned.
        target: the result of `AdversarialModel.target` for `x_nat`.
    """

    x_nat: Tensor
    x_adv: Tensor
    y: Tensor
    sample_weight: Tensor | None
    training: bool
    target: Tensor | None = None

    def weighted(self, values: Tensor) -> Tensor:
        """Return (batch,) values, multiplied by the sample weights."""
        if self.sample_weight is None:
            return values
        return values * ops.cast(self.sample_weight, values.dtype)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of (batch,) values, multiplied by the sample weights."""
        return ops.mean(self.weighted(values))


def integer_labels(labels: Tensor, num_classes: int) -> Tensor:
    """Convert integer labels or one-hot rows to (batch,) int32 classes.

    Labels out of range are clipped, because some backends cannot compute with them.
    `wrong_labels` reports them.

    Args:
        labels: (batch,), (batch, 1) or one-hot (batch, classes).
        num_classes: number of the student's classes.
    """
    if _has_columns(labels):
        return ops.cast(ops.argmax(labels, axis=-1), "int32")
    labels = ops.cast(ops.reshape(labels, (-1,)), "int32")
    return ops.clip(labels, 0, num_classes - 1)


def wrong_labels(labels: Tensor, num_classes: int) -> Tensor:
    """Return whether some labels are neither integers in range nor one-hot rows.

    Args:
        labels: (batch,), (batch, 1) or one-hot (batch, classes).
        num_classes: number of the student's classes.

    Returns:
        Scalar bool tensor.

    Raises:
        ValueError: the labels are missing or have another shape. This is already known
            when the step is compiled.
    """
    if labels is None:
        raise ValueError(
            "Labels are required. Received: y=None. Pass fit(x, y), or pairs (x, y) "
            "from the data set."
        )
    check_label_shape(tuple(labels.shape), num_classes)
    # Comparisons with NaN are false, so that it counts as wrong.
    if _has_columns(labels):
        ones, zeros = labels == 1, labels == 0
        single = ops.sum(ops.cast(ones, "int32"), axis=-1) == 1
        right = ops.logical_and(ops.all(ops.logical_or(ones, zeros)), ops.all(single))
        return ops.logical_not(right)
    if not _is_float(labels):
        labels = ops.cast(labels, "int32")
    right = ops.logical_and(labels >= 0, labels < num_classes)
    if _is_float(labels):
        right = ops.logical_and(right, labels == ops.floor(labels))
    return ops.logical_not(ops.all(right))


def wrong_images(images: Tensor) -> Tensor:
    """Return whether some pixel values are outside [0, 1] or not finite.

    Args:
        images: (batch, height, width, channels).

    Returns:
        Scalar bool tensor.

    Raises:
        ValueError: the images are not floats. This is already known when the step is
            compiled.
    """
    dtype = keras.backend.standardize_dtype(images.dtype)
    check_floating(_is_float(images), dtype)
    # Comparisons with NaN are false, so that it counts as wrong.
    right = ops.logical_and(images >= 0, images <= 1)
    return ops.logical_not(ops.all(right))


def sample_weights(weights: Tensor | None) -> Tensor | None:
    """Return sample weights of shape (batch,) or (batch, 1) in the shape (batch,).

    Raises:
        ValueError: the weights have another shape, which would broadcast.
    """
    if weights is None:
        return None
    shape = tuple(weights.shape)
    if len(shape) != 1 and not (len(shape) == 2 and shape[1] == 1):
        raise ValueError(
            "`sample_weight` must have one weight per image: (batch,) or (batch, 1). "
            f"Received: shape {shape}."
        )
    return ops.reshape(weights, (-1,))


def _has_columns(labels: Tensor) -> bool:
    return len(labels.shape) == 2 and labels.shape[-1] != 1


def _is_float(array: Tensor) -> bool:
    return keras.backend.is_float_dtype(array.dtype)
