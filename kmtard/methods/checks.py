"""Checks of what a user hands over: networks and data, each with its remedy."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from kmtard.attacks.inputs import check_images


def check_networks(networks: dict[str, Any]) -> None:
    """Refuse networks that cannot work together; warn of probabilities for logits.

    Args:
        networks: role -> network; the first is the one the others must agree with.

    Raises:
        ValueError: not a Keras model, given twice, or another number of classes.
    """
    for role, network in networks.items():
        if not isinstance(network, keras.Model):
            raise ValueError(
                f"`{role}` must be a keras.Model from images to logits. "
                f"Received: {network!r} of type {type(network).__name__}"
            )
    (role, student), *teachers = networks.items()
    for teacher_role, teacher in teachers:
        if teacher is student:
            raise ValueError(
                f"`{role}` and `{teacher_role}` are one model; freezing the teacher "
                "would freeze the student. Use keras.models.clone_model(teacher)."
            )
    built = {r: n for r, n in networks.items() if n.built}
    outputs = {r: n.output_shape[-1] for r, n in built.items() if _has_output(n)}
    if len(set(outputs.values())) > 1:
        raise ValueError(
            "All networks must give logits of the same classes. Received: "
            + ", ".join(f"{r} with {c} classes" for r, c in outputs.items())
        )
    for role, network in built.items():
        _warn_of_probabilities(role, network)


def _has_output(network: Any) -> bool:
    try:
        return len(network.output_shape) == 2
    except (AttributeError, ValueError, NotImplementedError):
        return False


def _warn_of_probabilities(role: str, network: Any) -> None:
    shape = getattr(network, "input_shape", None)
    if not isinstance(shape, tuple) or None in shape[1:]:
        return
    images = np.random.default_rng(0).random((4, *shape[1:]), dtype="float32")
    outputs = network(ops.convert_to_tensor(images), training=False)
    try:
        outputs = ops.convert_to_numpy(outputs).astype("float32")
    except TypeError:
        # On JAX, Keras builds networks inside a trace, where no value can be read.
        return
    if outputs.min() < 0 or np.abs(outputs.sum(-1) - 1).max() > 1e-2:
        return
    warnings.warn(
        f"The outputs of `{role}` look like softmax probabilities; logits are needed, "
        "and a second softmax would flatten them. Use "
        "kmtard.networks.logits_of(model) in its place: a model of the logits, on the "
        "same layers and weights.",
        stacklevel=5,
    )


def check_data(x: Any, y: Any, num_classes: int | None) -> None:
    """Check images and labels before the first step, as far as they can be seen.

    Arrays, also in a tuple (x, y), are checked whole; of a `tf.data.Dataset` or a
    `PyDataset` the first batch; a generator cannot be looked into without losing a
    batch (the steps count what is wrong in it, and the end of the epoch raises).

    Raises:
        ValueError: see `check_images` and `check_labels`.
    """
    if isinstance(x, (tuple, list)):
        x, y, _ = keras.utils.unpack_x_y_sample_weight(tuple(x))
    elif isinstance(x, keras.utils.PyDataset):
        x, y, _ = keras.utils.unpack_x_y_sample_weight(x[0])
    elif hasattr(x, "element_spec"):
        first = next(iter(x.take(1)), None)
        if first is None:
            raise ValueError("The data set is empty: expected at least one batch.")
        x, y, _ = keras.utils.unpack_x_y_sample_weight(first)
        x, y = np.asarray(x), np.asarray(y)
    if isinstance(x, np.ndarray) or ops.is_tensor(x):
        check_images(_numpy(x))
    if isinstance(y, np.ndarray) or ops.is_tensor(y):
        check_labels(_numpy(y), num_classes)


def check_labels(labels: np.ndarray, num_classes: int | None) -> None:
    """Refuse labels that are neither integers in range nor one-hot rows.

    Args:
        labels: (batch,) or (batch, 1) integers, or (batch, classes) one-hot.
        num_classes: of the student; None when it is not built yet.

    Raises:
        ValueError: with what was found.
    """
    if labels.ndim == 2 and labels.shape[1] > 1:
        if num_classes is not None and labels.shape[1] != num_classes:
            raise ValueError(
                f"One-hot labels must have {num_classes} columns, the student's "
                f"classes. Received: shape {labels.shape}"
            )
        if not (np.isin(labels, (0, 1)).all() and (labels.sum(1) == 1).all()):
            raise ValueError(
                "Labels with columns must be one-hot: a single 1 in each row. Soft or "
                "mixed labels have no place in these losses; use integer labels."
            )
        return
    if labels.ndim not in (1, 2):
        raise ValueError(
            "Labels must be (batch,) integers or (batch, classes) one-hot. "
            f"Received: shape {labels.shape}"
        )
    if labels.size and not (np.mod(labels, 1) == 0).all():
        raise ValueError(
            f"Labels must be whole numbers. Received: {labels.reshape(-1)[:5].tolist()}"
        )
    if labels.size and (
        labels.min() < 0 or (num_classes is not None and labels.max() >= num_classes)
    ):
        raise ValueError(
            f"Labels must lie in 0 .. {(num_classes or 0) - 1}, the student's classes. "
            f"Received: labels from {labels.min()} to {labels.max()}"
        )


def _numpy(array: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(array) if ops.is_tensor(array) else array)
