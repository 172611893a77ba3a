"""Checks of what a user hands over: networks and data, each with its remedy."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kmtard import backend
from kmtard.attacks.inputs import check_images


def check_networks(
    networks: dict[str, Any], input_shape: tuple[int | None, ...] | None = None
) -> None:
    """Refuse networks that cannot work together; warn of probabilities for logits.

    Args:
        networks: role -> network; the first is the one the others must agree with.
        input_shape: `(batch, height, width, channels)` of the images, for networks
            that do not know it themselves.

    Raises:
        ValueError: not a Keras model, given twice, with weights of the student's, or
            another number of classes.
    """
    for role, network in networks.items():
        if not isinstance(network, keras.Model):
            raise ValueError(
                f"`{role}` must be a keras.Model from images to logits. "
                f"Received: {network!r} of type {type(network).__name__}"
            )
    check_apart(networks)
    outputs = {r: num_classes(n, input_shape) for r, n in networks.items()}
    known = {role: classes for role, classes in outputs.items() if classes}
    if len(set(known.values())) > 1:
        raise ValueError(
            "All networks must give logits of the same classes. Received: "
            + ", ".join(f"{r} with {c} classes" for r, c in known.items())
        )
    for role, network in networks.items():
        if network.built:
            _warn_of_probabilities(role, network, input_shape)


def check_apart(networks: Mapping[str, Any]) -> None:
    """Refuse a network that has weights of the first one.

    Args:
        networks: role -> network; the first one learns.

    Raises:
        ValueError: it names both, and what to do.
    """
    (role, first), *others = networks.items()
    own = {id(weight) for weight in first.weights}
    for other_role, other in others:
        shared = [w.path for w in other.weights if id(w) in own]
        if other is first or shared:
            found = "are one model"
            if other is not first:
                found = f"share {len(shared)} weights, such as {shared[0]!r}"
            raise ValueError(
                f"`{role}` and `{other_role}` {found}, and `{role}` learns: freezing "
                f"`{other_role}` would freeze it, too. Use "
                f"keras.models.clone_model({other_role}), and copy its weights with "
                "set_weights."
            )


def check_trainable(networks: Mapping[str, Any]) -> None:
    """Refuse to train networks of which nothing would move.

    Args:
        networks: role -> network that is to be trained.

    Raises:
        ValueError: a network is frozen, as a former teacher is.
    """
    for role, network in networks.items():
        frozen = not network.trainable
        if network.weights:
            frozen = not network.trainable_weights
        if frozen:
            raise ValueError(
                f"`{role}` has nothing to train. Received: `{network.name}`, whose "
                "weights are all frozen, as those of a former teacher are. Set "
                "`network.trainable = True`, or use keras.models.clone_model(network) "
                "and copy its weights."
            )


def num_classes(
    network: Any, input_shape: tuple[int | None, ...] | None = None
) -> int | None:
    """Return how many logits a network gives for an image.

    A subclassed model has no `output_shape`; it is called on a symbolic image, which
    costs no computation.

    Args:
        network: a Keras model.
        input_shape: `(batch, height, width, channels)` of the images, for networks
            that do not know it themselves.

    Returns:
        None where the network is not built, or its images are not known.

    Raises:
        ValueError: its output is not (batch, classes).
    """
    if not network.built:
        return None
    try:
        shape = network.output_shape
    except (AttributeError, ValueError, NotImplementedError):
        known = image_shape(network, input_shape)
        if known is None:
            return None
        outputs = network(keras.KerasTensor((None, *known), "float32"), training=False)
        shape = getattr(outputs, "shape", None)
    if not (isinstance(shape, tuple) and len(shape) == 2 and isinstance(shape[1], int)):
        raise ValueError(
            f"The network `{network.name}` must give one array of logits, "
            f"(batch, classes). Received: output shape {shape}"
        )
    return shape[1]


def image_shape(
    network: Any, input_shape: tuple[int | None, ...] | None = None
) -> tuple[int, ...] | None:
    """Return the shape of an image that a network was built for; None if not known.

    Args:
        network: a Keras model.
        input_shape: `(batch, height, width, channels)`, taken where the network does
            not know its own.
    """
    shape = getattr(network, "input_shape", None)
    if shape is None and network.built:
        # What a subclassed model was called with first.
        shape = (network.get_build_config() or {}).get("input_shape")
    for candidate in (shape, input_shape):
        if isinstance(candidate, (tuple, list)):
            sizes = tuple(candidate[1:])
            if sizes and all(isinstance(size, int) for size in sizes):
                return sizes
    return None


def has_own_losses(network: Any) -> bool:
    """Tell whether a network brings losses: regularizers, or `add_loss` in a layer.

    The latter is seen only in the last call of the network outside of a compiled step;
    `check_networks` makes one.
    """
    layers = network._flatten_layers()
    return bool(network.losses) or any(
        getattr(layer, "activity_regularizer", None) is not None for layer in layers
    )


def _warn_of_probabilities(
    role: str, network: Any, input_shape: tuple[int | None, ...] | None
) -> None:
    shape = image_shape(network, input_shape)
    if shape is None:
        return
    images = np.random.default_rng(0).random((4, *shape), dtype="float32")
    outputs = network(ops.convert_to_tensor(images), training=False)
    try:
        outputs = ops.convert_to_numpy(outputs).astype("float32")
    except (TypeError, NotImplementedError):
        # Keras builds networks inside a trace, where no value can be read.
        return
    # Of NaN nothing can be said: no comparison holds.
    if not outputs.min() >= 0 or np.abs(outputs.sum(-1) - 1).max() > 1e-2:
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
    batch. What is wrong in later batches the steps mark; see `callbacks.InputGuard`.

    Raises:
        ValueError: labels are missing; or see `check_images` and `check_labels`.
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
        x = np.asarray(x)
        y = None if y is None else np.asarray(y)
    known = isinstance(x, np.ndarray) or ops.is_tensor(x)
    if y is None and known:
        raise ValueError(
            "Labels are needed, as fit(x, y) or as pairs (x, y) in the data. Received: "
            "images alone, y is None."
        )
    if known:
        check_images(backend.to_numpy(x))
    if isinstance(y, np.ndarray) or ops.is_tensor(y):
        check_labels(backend.to_numpy(y), num_classes)


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
