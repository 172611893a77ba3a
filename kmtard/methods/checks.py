"""Checks of the user's networks and data. Each error says what to do."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kmtard import backend
from kmtard.attacks.inputs import check_images, check_training_labels
from kmtard.networks.logits import ONE_OUTPUT, are_probabilities


def check_networks(
    networks: dict[str, Any], input_shape: tuple[int | None, ...] | None = None
) -> None:
    """Check that networks match, and warn if one returns probabilities.

    Args:
        networks: role -> network; the first one is the student.
        input_shape: `(batch, height, width, channels)` of the images, for networks
            whose input shape is unknown.

    Raises:
        ValueError: a network is not a Keras model, shares weights with the student, or
            has another number of classes.
    """
    for role, network in networks.items():
        if not isinstance(network, keras.Model):
            raise ValueError(
                f"`{role}` must be a keras.Model from images to logits. "
                f"Received: {network!r} of type {type(network).__name__}."
            )
    check_apart(networks)
    outputs = {r: num_classes(n, input_shape) for r, n in networks.items()}
    known = {role: classes for role, classes in outputs.items() if classes}
    if len(set(known.values())) > 1:
        raise ValueError(
            "All networks must have the same number of classes. Received: "
            + ", ".join(f"{r} with {c} classes" for r, c in known.items())
            + "."
        )
    for role, network in networks.items():
        if network.built:
            _warn_of_probabilities(role, network, input_shape)


def check_apart(networks: Mapping[str, Any]) -> None:
    """Check that no network shares weights with the first one.

    Args:
        networks: role -> network; the first one is trained.

    Raises:
        ValueError: another network is the first one, or shares weights with it.
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
                f"`{role}` and `{other_role}` {found}, but `{role}` is trained: "
                f"freezing `{other_role}` would also freeze it. Use "
                f"keras.models.clone_model({other_role}), and copy its weights with "
                "set_weights."
            )


def check_trainable(networks: Mapping[str, Any]) -> None:
    """Check that the networks to be trained have trainable weights.

    Args:
        networks: role -> network to be trained.

    Raises:
        ValueError: a network is frozen, for example because it was a teacher before.
    """
    for role, network in networks.items():
        frozen = not network.trainable
        if network.weights:
            frozen = not network.trainable_weights
        if frozen:
            raise ValueError(
                f"`{role}` has nothing to train. Received: {network.name!r}, whose "
                "weights are all frozen; a method freezes its teachers. Set "
                "`network.trainable = True`, or use keras.models.clone_model(network) "
                "and copy its weights."
            )


def num_classes(
    network: Any, input_shape: tuple[int | None, ...] | None = None
) -> int | None:
    """Return the number of logits of a network.

    A subclassed model has no `output_shape`. It is called on a symbolic image, which
    computes nothing.

    Args:
        network: a Keras model.
        input_shape: `(batch, height, width, channels)` of the images, for networks
            whose input shape is unknown.

    Returns:
        The number; None if the network is not built or the shape of its images is
        unknown.

    Raises:
        ValueError: the output does not have the shape (batch, classes).
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
        shape = keras.tree.map_structure(lambda output: output.shape, outputs)
    if not (isinstance(shape, tuple) and len(shape) == 2 and isinstance(shape[1], int)):
        raise ValueError(
            f"The network {network.name!r} must have one output of logits, "
            f"(batch, classes). Received: output shape {shape}. {ONE_OUTPUT}"
        )
    return shape[1]


def image_shape(
    network: Any, input_shape: tuple[int | None, ...] | None = None
) -> tuple[int, ...] | None:
    """Return the image shape for which a network was built; None if it is unknown.

    Args:
        network: a Keras model.
        input_shape: `(batch, height, width, channels)`, used if the network does not
            know its input shape.
    """
    shape = getattr(network, "input_shape", None)
    if shape is None and network.built:
        # The shape in the first call of a subclassed model.
        shape = (network.get_build_config() or {}).get("input_shape")
    for candidate in (shape, input_shape):
        if isinstance(candidate, (tuple, list)):
            sizes = tuple(candidate[1:])
            if sizes and all(isinstance(size, int) for size in sizes):
                return sizes
    return None


def has_own_losses(network: Any) -> bool:
    """Return whether a network has own losses: regularizers, or `add_loss` in a layer.

    `add_loss` is visible only after a call of the network outside of a compiled step,
    such as that of `check_networks`.
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
        outputs = ops.convert_to_numpy(outputs)
    except (TypeError, NotImplementedError):
        # Keras builds networks inside a trace, where values cannot be read.
        return
    if not are_probabilities(outputs):
        return
    warnings.warn(
        f"The outputs of `{role}` look like softmax probabilities, but methods need "
        "logits: a second softmax would flatten the probabilities. Use "
        "kmtard.networks.logits_of(model) instead: it returns a model of the logits, "
        "with the same layers and weights.",
        stacklevel=5,
    )


def check_data(x: Any, y: Any, num_classes: int | None) -> None:
    """Check images and labels before the first step, as far as possible.

    Arrays are checked completely. For a `tf.data.Dataset` or a `PyDataset`, the first
    batch is checked. A generator is not checked, because this would use up a batch. The
    steps check all later batches; see `callbacks.InputGuard`.

    Args:
        x: images, a pair (x, y), a data set, or a generator, as for `keras.Model.fit`.
        y: labels, or None.
        num_classes: number of the student's classes; None if it is not built.

    Raises:
        ValueError: labels are missing, or images or labels are invalid.
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
            "Labels are required. Received: y=None. Pass fit(x, y), or pairs (x, y) "
            "from the data set."
        )
    if known:
        check_images(backend.to_numpy(x))
    if isinstance(y, np.ndarray) or ops.is_tensor(y):
        check_training_labels(backend.to_numpy(y), num_classes)
