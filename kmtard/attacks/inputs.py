"""Checks of images and labels, shared by attacks, evaluation and training."""

from __future__ import annotations

import numpy as np


def check_images(images: np.ndarray) -> None:
    """Check that images are finite floats in [0, 1].

    Args:
        images: (N, ...) images.

    Raises:
        ValueError: there is no image, or a value is not a finite float in [0, 1].
    """
    if images.ndim < 2 or not len(images):
        raise ValueError(
            "Images must have the shape (N, height, width, channels) with N >= 1. "
            f"Received: shape {images.shape}."
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
            f"Images must be in [0, 1]. Received: values in [{low:g}, {high:g}]. "
            "Scale them to [0, 1], and move any normalization into the model, so that "
            "epsilon refers to pixel intensity."
        )


def check_floating(floating: bool, dtype: str) -> None:
    """Check that images are floating point.

    Args:
        floating: whether the images are floating point.
        dtype: name of their dtype.

    Raises:
        ValueError: the images are not floating point.
    """
    if not floating:
        raise ValueError(
            f"Images must be floating point in [0, 1]. Received: dtype {dtype}. "
            "Divide 8-bit images by 255: x.astype('float32') / 255."
        )


def class_labels(labels: np.ndarray) -> np.ndarray:
    """Return (N,) labels from a column (N, 1) or from one-hot rows.

    Other labels are returned unchanged; `check_labels` then raises an error.
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
    """Check that labels are one class per image.

    Args:
        labels: (images,) integers in [0, classes).
        images: number of images.
        classes: number of the model's classes.

    Raises:
        ValueError: the labels have another shape, dtype or range.
    """
    if labels.shape != (images,) or labels.dtype.kind not in "iu":
        raise ValueError(
            "`y` must be integer labels, one per image, or one-hot rows. Received: "
            f"shape {labels.shape}, dtype {labels.dtype}, for {images} images."
        )
    check_classes(labels, classes)


def check_training_labels(labels: np.ndarray, classes: int | None) -> None:
    """Check that labels are integers in range, or one-hot rows.

    Args:
        labels: (batch,) or (batch, 1) whole numbers, or (batch, classes) one-hot rows.
        classes: number of the student's classes; None if it is not built.

    Raises:
        ValueError: the labels have another shape or other values.
    """
    check_label_shape(labels.shape, classes)
    if labels.ndim == 2 and labels.shape[1] != 1:
        if not is_one_hot(labels):
            raise ValueError(
                "Labels with several columns must be one-hot: one 1 per row, and 0 "
                "otherwise. These losses do not support soft or mixed labels; use "
                "integer labels."
            )
        return
    if not (np.mod(labels, 1) == 0).all():
        raise ValueError(
            "Labels must be whole numbers. Received: "
            f"{labels.reshape(-1)[:5].tolist()}."
        )
    check_classes(labels, classes)


def check_label_shape(shape: tuple[int | None, ...], classes: int | None) -> None:
    """Check that labels have a shape that `fit` accepts.

    Args:
        shape: shape of the labels; None for an unknown size.
        classes: number of the student's classes; None if it is not built.

    Raises:
        ValueError: the shape is another one.
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
    """Check that labels are classes of a model.

    Args:
        labels: whole numbers, of any shape.
        classes: number of the model's classes; None if unknown.

    Raises:
        ValueError: a label is out of range.
    """
    low, high = labels.min(initial=0), labels.max(initial=0)
    if low < 0 or (classes is not None and high >= classes):
        expected = "be >= 0" if classes is None else f"be in 0 .. {classes - 1}"
        raise ValueError(
            f"Labels must {expected}, the model's classes. "
            f"Received: labels from {labels.min()} to {labels.max()}."
        )
