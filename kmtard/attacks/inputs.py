"""Checks of images and labels, shared by attacks, evaluation and training."""

from __future__ import annotations

import numpy as np


def check_images(images: np.ndarray) -> None:
    """Refuse images that are not finite floats in [0, 1].

    Raises:
        ValueError: with the range that was found and the usual remedy.
    """
    if images.ndim < 2 or not len(images):
        raise ValueError(
            "Images must be (N, height, width, channels), at least one. Received: "
            f"shape {images.shape}."
        )
    check_floating(images.dtype.kind == "f", str(images.dtype))
    low, high = images.min(), images.max()
    if np.isnan(low) or np.isnan(high) or np.isinf(low) or np.isinf(high):
        bad = np.flatnonzero(~np.isfinite(images.reshape(len(images), -1)).all(1))
        raise ValueError(
            f"Images must be finite. Received: NaN or infinity in {len(bad)} of "
            f"{len(images)} images, the first at index {bad[0]}."
        )
    if low < 0 or high > 1:
        raise ValueError(
            f"Images must lie in [0, 1]. Received: values in [{low:g}, {high:g}]. "
            "Scale them there, and put any normalisation inside the model, "
            "so that epsilon keeps its meaning."
        )


def check_floating(floating: bool, dtype: str) -> None:
    """Refuse images that are not floating point.

    Args:
        floating: whether the images are floating point.
        dtype: name of their dtype.

    Raises:
        ValueError: names the dtype and the usual remedy.
    """
    if not floating:
        raise ValueError(
            f"Images must be floating point in [0, 1]. Received: dtype {dtype}. "
            "Divide 8-bit images by 255: x.astype('float32') / 255."
        )


def class_labels(labels: np.ndarray) -> np.ndarray:
    """Return (N,) labels of a column (N, 1) or of one-hot rows, as `fit` takes them.

    Anything else comes back as it is, for `check_labels` to refuse.
    """
    if labels.ndim != 2:
        return labels
    if labels.shape[1] == 1:
        return labels[:, 0]
    return labels.argmax(axis=1) if is_one_hot(labels) else labels


def is_one_hot(labels: np.ndarray) -> bool:
    """Return whether every row of (N, classes) is a single 1 among zeros."""
    return bool(np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all())


def check_labels(labels: np.ndarray, images: int, classes: int) -> None:
    """Refuse labels that are not one class per image.

    Args:
        labels: (images,) integers in [0, classes).
        images: how many there are.
        classes: of the model.

    Raises:
        ValueError: with what was found.
    """
    if labels.shape != (images,) or labels.dtype.kind not in "iu":
        raise ValueError(
            "`y` must be integer labels, one per image, or one-hot. Received: shape "
            f"{labels.shape}, dtype {labels.dtype}, for {images} images."
        )
    check_classes(labels, classes)


def check_training_labels(labels: np.ndarray, classes: int | None) -> None:
    """Refuse labels that are neither integers in range nor one-hot rows.

    Args:
        labels: (batch,) or (batch, 1) whole numbers, or (batch, classes) one-hot.
        classes: number of classes of the student; None before it is built.

    Raises:
        ValueError: names what was found.
    """
    check_label_shape(labels.shape, classes)
    if labels.ndim == 2 and labels.shape[1] != 1:
        if not is_one_hot(labels):
            raise ValueError(
                "Labels with columns must be one-hot: a single 1 in each row. Soft or "
                "mixed labels have no place in these losses; use integer labels."
            )
        return
    if not (np.mod(labels, 1) == 0).all():
        raise ValueError(
            "Labels must be whole numbers. Received: "
            f"{labels.reshape(-1)[:5].tolist()}."
        )
    check_classes(labels, classes)


def check_label_shape(shape: tuple[int | None, ...], classes: int | None) -> None:
    """Refuse labels with a shape that `fit` does not accept.

    Args:
        shape: shape of the labels; None for an unknown size.
        classes: number of classes of the student; None before it is built.

    Raises:
        ValueError: names the shape.
    """
    if len(shape) not in (1, 2):
        raise ValueError(
            "Labels must be (batch,) integers or (batch, classes) one-hot rows. "
            f"Received: shape {shape}."
        )
    if len(shape) == 2 and classes and shape[1] not in (None, 1, classes):
        raise ValueError(
            f"One-hot labels must have {classes} columns, one for each class of the "
            f"model. Received: shape {shape}."
        )


def check_classes(labels: np.ndarray, classes: int | None) -> None:
    """Refuse labels outside the classes of a model.

    Args:
        labels: whole numbers, of any shape.
        classes: number of classes of the model; None if unknown.

    Raises:
        ValueError: names the lowest and the highest label.
    """
    low, high = labels.min(initial=0), labels.max(initial=0)
    if low < 0 or (classes is not None and high >= classes):
        expected = "be >= 0" if classes is None else f"lie in 0 .. {classes - 1}"
        raise ValueError(
            f"Labels must {expected}, the model's classes. "
            f"Received: labels from {labels.min()} to {labels.max()}."
        )
