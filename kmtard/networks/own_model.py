"""Use any Keras classifier as a network from images in [0, 1] to float32 logits."""

from __future__ import annotations

import os
import weakref
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kmtard.networks.blocks import Shape
from kmtard.networks.interface import (
    UNIT,
    Interface,
    Range,
    augments,
    interface_of,
    measured_range,
    units_of,
)
from kmtard.networks.logits import (
    ONE_OUTPUT,
    logits_of,
    runs_its_graph,
    without_last_activation,
)
from kmtard.registry.ranges import Share, checked

SCALING = "to_input_range"
"""Name of the layer that scales images from [0, 1] to the range of the model."""

HALVES = ("float16", "bfloat16")


@dataclass(frozen=True)
class Origin:
    """The model that a network was made of.

    Attributes:
        model: the user's model. It shares its weights with the network.
        notes: what the network does around the model, one text each.
    """

    model: keras.Model
    notes: tuple[str, ...]


_origins: weakref.WeakKeyDictionary[keras.Model, Origin] = weakref.WeakKeyDictionary()


@checked
def own_model(
    num_classes: int,
    input_shape: Shape,
    path: str,
    *,
    input_range: tuple[float, float] | None = None,
    momentum: Share | None = None,
) -> keras.Model:
    """Return the model in a `.keras` file as a network, with its weights.

    Args:
        num_classes: Number of classes that the model must have.
        input_shape: `(height, width, channels)` of an image.
        path: The file.
        input_range: (low, high) of the images that the model takes, such as [0, 255];
            None reads it from its layers Rescaling and Normalization, and takes [0, 1]
            if it has none.
        momentum: Momentum of every BatchNormalization in training, from 0 to 1; None
            keeps that of the file. Attacks use the averages, and with Keras's default
            of 0.99 these follow the weights only after hundreds of steps.

    Returns:
        A Keras model from images in [0, 1] to logits.

    Raises:
        ValueError: The file cannot be read, the model does not fit, or an argument is
            out of its range.
    """
    model = with_momentum(load(path), momentum)
    network = adapted(model, input_shape=input_shape, input_range=input_range)
    classes = network.output_shape[-1] if hasattr(network, "output_shape") else None
    if classes not in (None, num_classes):
        raise ValueError(
            f"{path} has {classes} classes, and the data have {num_classes}."
        )
    return network


def load(path: str | os.PathLike[str]) -> keras.Model:
    """Return the model in a `.keras` file, ready to be trained, without compiling it.

    Weights of 16 bits become those of the mixed policy: float32 weights, which are
    computed with in 16 bits.

    Raises:
        ValueError: the file cannot be read, or holds no model.
    """
    try:
        model = keras.models.load_model(path, compile=False)
    except (ImportError, OSError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from error
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"Expected a Keras model in {path}. Received: {type(model).__name__}."
        )
    # A saved method of kmtard contains its student.
    model = getattr(model, "student", model)
    return with_float32_weights(model)


@checked
def with_momentum(model: keras.Model, momentum: Share | None) -> keras.Model:
    """Set the momentum of every BatchNormalization, unless it is None.

    Returns:
        The model itself.

    Raises:
        ValueError: `momentum` is outside [0, 1].
    """
    if momentum is not None:
        for layer in model._flatten_layers(include_self=False):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = momentum
    return model


def with_float32_weights(model: keras.Model) -> keras.Model:
    """Return a model whose weights are float32; the model itself if they are already.

    A step of training is often smaller than the distance of two numbers of 16 bits.

    Raises:
        ValueError: the model has weights of 16 bits and cannot be built anew.
    """
    if not any(str(weight.dtype) in HALVES for weight in model.weights):
        return model
    try:
        twin = type(model).from_config(_mixed(model.get_config()))
        if not twin.built:
            twin.build(model.get_build_config()["input_shape"])
        twin.set_weights([ops.convert_to_numpy(w) for w in model.weights])
    except (AttributeError, KeyError, NotImplementedError, TypeError) as error:
        raise ValueError(
            f"The model {model.name!r} has weights of 16 bits, in which training makes "
            "no progress, and it cannot be built with float32 weights: it has no "
            "configuration. Build it with the policy mixed_float16, copy its weights "
            "with set_weights, and save it."
        ) from error
    return twin


def _mixed(config: Any) -> Any:
    """Return a configuration with mixed policies in place of those of 16 bits."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            name = config["config"]["name"]
            if name in HALVES:
                return {**config, "config": {"name": f"mixed_{name}"}}
        return {key: _mixed(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return type(config)(_mixed(each) for each in config)
    return config


def adapted(
    model: keras.Model,
    *,
    input_shape: Shape,
    input_range: Range | None = None,
    example: Any = None,
    labeled: tuple[Any, Any] | None = None,
) -> keras.Model:
    """Return a network from images in [0, 1] to logits that shares a model's weights.

    It scales the images to the range of the model, moves their channels to the front if
    the model needs it, leaves out a final softmax or sigmoid, and returns float32. A
    single output z becomes the logits [0, z]. Layers that change images in training are
    left out: the attack of a training step must see the image that the step is taken
    with, so images are changed before it (`data.flip`, `data.pad`).

    Args:
        model: any Keras model from images to (batch, classes). It is not changed.
        input_shape: `(height, width, channels)` of an image.
        input_range: (low, high) of the model's images; None reads it from its layers,
            and takes [0, 1] if no layer shows it.
        example: (1 or more, ...) images of the model, if it must be called to see what
            it returns; random ones if None.
        labeled: uint8 images (n, height, width, channels) and their classes. If neither
            `input_range` nor a layer shows the range, it is the one in which the model
            is clearly most often right.

    Returns:
        The network; `model` itself if there is nothing to adapt. `origin_of` tells what
        was done.

    Raises:
        ValueError: the model does not take such images, or does not return one output
            (batch, classes).

    Example:
        >>> import keras, kmtard
        >>> model = keras.Sequential(
        ...     [
        ...         keras.Input((8, 8, 1)),
        ...         keras.layers.Rescaling(1 / 255),
        ...         keras.layers.Flatten(),
        ...         keras.layers.Dense(3, activation="softmax"),
        ...     ]
        ... )
        >>> network = kmtard.networks.adapted(model, input_shape=(8, 8, 1))
        >>> kmtard.networks.own_model.origin_of(network).notes[1]
        'its final softmax is left out'
    """
    found = interface_of(model)
    _check_images(model, found, input_shape)
    own_range, why = input_range or found.input_range, found.evidence
    if input_range:
        why = "as input_range says"
    if own_range is None and labeled is not None:
        images, labels = labeled
        if found.channels_first:
            images = images.transpose(0, 3, 1, 2)
        own_range = measured_range(model, images, labels)
        why = "with which it is right most often"
    own_range = own_range or UNIT
    notes = []
    inputs = keras.Input(input_shape, dtype="float32")
    x = inputs
    if tuple(own_range) != UNIT:
        low, high = own_range
        x = keras.layers.Rescaling(high - low, low, dtype="float32", name=SCALING)(x)
        notes.append(f"images are scaled from [0, 1] to [{low:g}, {high:g}] ({why})")
    if found.channels_first:
        x = keras.layers.Permute((3, 1, 2))(x)
        notes.append("channels are moved to the front")
    if not model.built:
        model(keras.KerasTensor(x.shape, "float32"), training=False)
    network = _of_logits(model, _example(x.shape[1:], own_range, example))
    if network is not model:
        ending = found.ending if found.ending != "unknown" else "softmax"
        notes.append(f"its final {ending} is left out")
    network, more = _without_augmentation(_takes_floats(network), found.augmentation)
    notes += more
    logits, more = _plain(model, network(x))
    notes += more
    if not notes:
        return model
    adapter = keras.Model(inputs, logits, name=model.name)
    _origins[adapter] = Origin(model, tuple(notes))
    return adapter


def origin_of(network: keras.Model) -> Origin:
    """Return the model that `adapted` made a network of, or the network itself."""
    return _origins.get(network) or Origin(network, ())


def _check_images(model: keras.Model, found: Interface, input_shape: Shape) -> None:
    inputs = getattr(model, "inputs", None)
    if inputs and len(inputs) != 1:
        raise ValueError(
            f"Expected a model of one image. Received: {model.name!r} with "
            f"{len(inputs)} inputs."
        )
    pairs = zip(found.shape, input_shape, strict=True)
    if any(own not in (None, given) for own, given in pairs):
        size = " x ".join("any" if each is None else str(each) for each in found.shape)
        given = " x ".join(map(str, input_shape))
        advice = ""
        if found.shape[0] and found.shape[1]:
            advice = (
                f" For a folder of images, set data.options.size = "
                f"[{found.shape[0]}, {found.shape[1]}]"
            )
            if found.shape[2] != input_shape[2]:
                color = "grey" if found.shape[2] == 1 else "color"
                advice += f' and data.options.color = "{color}"'
            advice += "."
        raise ValueError(
            f"The model {model.name!r} takes images of {size}, and the data's are "
            f"{given} (height x width x channels).{advice}"
        )


def _example(shape: Any, own_range: Range, given: Any) -> Any:
    if given is not None:
        return given
    low, high = own_range
    return keras.random.uniform((4, *shape), low, high, seed=0)


def _of_logits(model: keras.Model, example: Any) -> keras.Model:
    units = units_of(model)
    if units is None:
        # Symbolic, so that nothing is computed.
        outputs = model(keras.KerasTensor(example.shape, "float32"), training=False)
        units = getattr(outputs, "shape", (None,))[-1]
    if units != 1:
        return logits_of(model, example)
    network = without_last_activation(model)
    if network is None:
        raise ValueError(
            f"The model {model.name!r} has one output, which may be a logit or a "
            "probability, and its layers do not show which. End the model with "
            "Dense(2), or with Dense(1) and the activation None or 'sigmoid'."
        )
    return network


def _takes_floats(network: keras.Model) -> keras.Model:
    """Return a functional model that does not round its images to integers.

    A model with `Input(dtype="uint8")` would, and no gradient would reach the images.
    """
    inputs = getattr(network, "inputs", None)
    if not inputs or keras.backend.is_float_dtype(inputs[0].dtype):
        return network
    images = keras.Input(inputs[0].shape[1:], dtype="float32")
    return keras.models.clone_model(
        network, input_tensors=images, clone_function=lambda layer: layer
    )


def _without_augmentation(
    network: keras.Model, names: tuple[str, ...]
) -> tuple[keras.Model, list[str]]:
    """Return the network without its layers that change images, and a note."""
    if not names:
        return network, []
    still = _still(network) if runs_its_graph(network) else network
    kept = interface_of(still).augmentation
    gone = [name for name in names if name not in kept]
    notes = []
    if gone:
        notes.append(f"its {', '.join(gone)} is left out in training")
    if kept:
        classes = ", ".join(kept)
        notes.append(f"its {classes} cannot be left out, which weakens attacks")
    return still, notes


def _still(network: keras.Model) -> keras.Model:
    def still(layer: keras.layers.Layer) -> keras.layers.Layer:
        inner = list(layer._flatten_layers(include_self=False))
        is_model = isinstance(layer, keras.Model)
        # Such as those of a keras.layers.Pipeline.
        if augments(layer) or (inner and not is_model and all(map(augments, inner))):
            return keras.layers.Identity(name=layer.name, dtype=layer.dtype_policy.name)
        if is_model and runs_its_graph(layer):
            return _still(layer)
        return layer

    if isinstance(network, keras.Sequential):
        return keras.models.clone_model(network, clone_function=still)
    return keras.models.clone_model(network, clone_function=still, call_function=_call)


def _call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
    # The layer that it replaces may have been called with `training` or a mask.
    if type(layer) is keras.layers.Identity:
        return layer(*args)
    return layer(*args, **kwargs)


def _plain(model: keras.Model, logits: Any) -> tuple[Any, list[str]]:
    """Return float32 logits, one for each class, and notes."""
    if not (hasattr(logits, "shape") and len(logits.shape) == 2):
        shape = keras.tree.map_structure(lambda each: each.shape, logits)
        raise ValueError(
            f"The model {model.name!r} must have one output (batch, classes). "
            f"Received: output shape {shape}. {ONE_OUTPUT}"
        )
    notes = []
    if keras.backend.standardize_dtype(logits.dtype) != "float32":
        notes.append(f"its {logits.dtype} outputs become float32")
        logits = keras.layers.Activation("linear", dtype="float32")(logits)
    if logits.shape[-1] == 1:
        logits = ops.pad(logits, [[0, 0], [1, 0]])
        notes.append("its output z becomes the logits [0, z]")
    return logits, notes
