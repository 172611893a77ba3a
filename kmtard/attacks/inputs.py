"""What an attack refuses before it starts."""

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
    if images.dtype.kind != "f":
        raise ValueError(
            "Images must be floating point in [0, 1]. Received: dtype "
            f"{images.dtype}. Divide 8-bit images by 255: x.astype('float32') / 255."
        )
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


def class_labels(labels: np.ndarray) -> np.ndarray:
    """Return (N,) labels of a column (N, 1) or of one-hot rows, as `fit` takes them.

    Anything else comes back as it is, for `check_labels` to refuse.
    """
    if labels.ndim != 2:
        return labels
    if labels.shape[1] == 1:
        return labels[:, 0]
    one_hot = np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()
    return labels.argmax(axis=1) if one_hot else labels


def check_labels(labels: np.ndarray, images: int, classes: int) -> None:
    """Refuse labels that are not one class an image.

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
    low, high = labels.min(), labels.max()
    if low < 0 or high >= classes:
        raise ValueError(
            f"`y` must lie in 0 .. {classes - 1}, the model's classes. "
            f"Received: labels from {low} to {high}."
        )
