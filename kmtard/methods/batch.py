"""What a step hands to a method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import keras
from keras import ops

from kmtard.attacks.inputs import check_floating, check_label_shape
from kmtard.backend.types import Tensor


class Logits(NamedTuple):
    """Student logits by kind of image, each in the order of its passes.

    Attributes:
        nat: of the clean images, one (batch, classes) array a pass.
        adv: of the adversarial images.
    """

    nat: tuple[Tensor, ...] = ()
    adv: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Batch:
    """What a step works on.

    Attributes:
        x_nat: (batch, height, width, channels) in [0, 1].
        x_adv: the same images attacked; `x_nat` itself if the method does not attack.
        y: (batch,) integer labels.
        sample_weight: (batch,) or None.
        training: False in `test_step`: nothing may be assigned then.
        target: what `AdversarialModel.target` returned for `x_nat`.
    """

    x_nat: Tensor
    x_adv: Tensor
    y: Tensor
    sample_weight: Tensor | None
    training: bool
    target: Tensor | None = None

    def weighted(self, values: Tensor) -> Tensor:
        """Return (batch,) values, each times its sample weight."""
        if self.sample_weight is None:
            return values
        return values * ops.cast(self.sample_weight, values.dtype)

    def mean(self, values: Tensor) -> Tensor:
        """Average (batch,) values, each times its sample weight."""
        return ops.mean(self.weighted(values))


def integer_labels(labels: Tensor, num_classes: int) -> Tensor:
    """Turn integer labels, or one-hot rows, into (batch,) int32 classes.

    Labels that are no classes are moved to the nearest one: `wrong_labels` tells of
    them, and some backends could not compute with others.

    Args:
        labels: (batch,), (batch, 1) or one-hot (batch, classes).
        num_classes: of the student.
    """
    if _has_columns(labels):
        return ops.cast(ops.argmax(labels, axis=-1), "int32")
    labels = ops.cast(ops.reshape(labels, (-1,)), "int32")
    return ops.clip(labels, 0, num_classes - 1)


def wrong_labels(labels: Tensor, num_classes: int) -> Tensor:
    """Tell whether some labels are neither whole numbers in range nor one-hot rows.

    Args:
        labels: (batch,), (batch, 1) or one-hot (batch, classes).
        num_classes: of the student.

    Returns:
        Scalar bool tensor.

    Raises:
        ValueError: labels of another shape; that is known when the step is compiled.
    """
    if labels is None:
        raise ValueError("Labels are needed. Received: images alone, y is None.")
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
    """Tell whether some pixels are outside [0, 1] or not finite.

    Args:
        images: (batch, height, width, channels).

    Returns:
        Scalar bool tensor.

    Raises:
        ValueError: images are no floats; that is known when the step is compiled.
    """
    dtype = keras.backend.standardize_dtype(images.dtype)
    check_floating(_is_float(images), dtype)
    # Comparisons with NaN are false, so that it counts as wrong.
    right = ops.logical_and(images >= 0, images <= 1)
    return ops.logical_not(ops.all(right))


def sample_weights(weights: Tensor | None) -> Tensor | None:
    """Return weights of shape (batch,) or (batch, 1) as (batch,).

    Raises:
        ValueError: weights of another shape, which would broadcast.
    """
    if weights is None:
        return None
    shape = tuple(weights.shape)
    if len(shape) != 1 and not (len(shape) == 2 and shape[1] == 1):
        raise ValueError(
            "`sample_weight` must have one weight per image: (batch,) or (batch, 1). "
            f"Received: shape {shape}"
        )
    return ops.reshape(weights, (-1,))


def _has_columns(labels: Tensor) -> bool:
    return len(labels.shape) == 2 and labels.shape[-1] != 1


def _is_float(array: Tensor) -> bool:
    return keras.backend.is_float_dtype(array.dtype)
