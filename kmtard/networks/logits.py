"""Return the logits of a Keras model that ends in a softmax."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

# Tolerance for probabilities outside [0, 1] and for their sum: half precision rounds.
SLACK = 1e-2
TINY = 1e-30

ONE_OUTPUT = (
    "If there are several outputs, use keras.Model(model.inputs, model.outputs[0]). If "
    "the output has more axes, use keras.Sequential([model, keras.layers.Flatten()])."
)
"""What to do about a model whose output is not (batch, classes)."""


def logits_of(model: keras.Model, example: Any = None) -> keras.Model:
    """Return a model that computes the logits of a classifier with a final softmax.

    The given model is not changed. Both models share all layers and weights: training
    one of them also trains the other. Both can be saved and loaded as usual.

    The softmax of a functional or sequential model is found as the activation of the
    last layer, as a layer, or as a function, even inside nested models. Otherwise, as
    in a subclassed model, the outputs for a few images show whether they are
    probabilities. In that case the new model returns their logarithm, which has the
    same softmax.

    Args:
        model: any Keras model from images to probabilities (batch, classes).
        example: (1 or more, ...) images; needed if the model does not know its input
            shape.

    Returns:
        A model from the same images to logits; `model` itself if it already returns
        logits.

    Raises:
        TypeError: `model` is not a Keras model.
        ValueError: the model does not know its input shape and `example` is None.

    Example:
        >>> import keras, kmtard
        >>> model = keras.Sequential(
        ...     [keras.Input((4,)), keras.layers.Dense(3, activation="softmax")]
        ... )
        >>> logits = kmtard.networks.logits_of(model)
        >>> logits.layers[-1].activation is keras.activations.linear
        True
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`logits_of` expects a Keras model from images to probabilities. "
            f"Received: {type(model).__name__}."
        )
    network = without_last_activation(model)
    if network is not None:
        return network
    images = _images(model, example)
    if not are_probabilities(ops.convert_to_numpy(model(images, training=False))):
        return model
    inputs = getattr(model, "inputs", None)
    # A functional model gets the logarithm as a new output; any other model is wrapped.
    if inputs:
        return keras.Model(_inputs(model), _logarithm(model.outputs[0]))
    inputs = keras.Input(images.shape[1:], dtype=images.dtype)
    return keras.Model(inputs, _logarithm(model(inputs)))


def are_probabilities(outputs: np.ndarray) -> bool:
    """Return whether outputs (batch, classes) look like those of a softmax."""
    outputs = outputs.astype("float32")
    if outputs.ndim != 2 or outputs.shape[1] < 2 or not np.isfinite(outputs).all():
        return False
    inside = outputs.min() >= -SLACK and outputs.max() <= 1 + SLACK
    return bool(inside and np.abs(outputs.sum(-1) - 1).max() <= SLACK)


def without_last_activation(model: keras.Model) -> keras.Model | None:
    """Return a model without its final softmax, as far as its layers show one.

    For a model with a single output unit, the final sigmoid is removed.

    Args:
        model: any Keras model; it is neither changed nor called.

    Returns:
        A model on the same layers and weights; `model` itself if it already returns
        logits; None if the layers do not show which of the two is the case.
    """
    if not runs_its_graph(model) or len(model.outputs) != 1:
        return None
    outputs = _before_activation(model.outputs[0])
    if outputs is None or outputs is model.outputs[0]:
        return model if outputs is not None else None
    return keras.Model(_inputs(model), outputs, name=model.name)


def runs_its_graph(model: Any) -> bool:
    """Return whether a model computes exactly its graph of layers."""
    of_keras = type(model).__module__.partition(".")[0] == "keras"
    return of_keras and "call" not in vars(model) and bool(_outputs(model))


def _outputs(model: Any) -> Any:
    return getattr(model, "outputs", None)


def _before_activation(output: Any) -> Any:
    """Return the tensor before the softmax of an output, or before a single sigmoid.

    Args:
        output: symbolic, (batch, classes).

    Returns:
        Symbolic logits; `output` itself if it already holds logits; None if unknown.
    """
    operation, node_index, _ = output._keras_history
    [*inputs] = operation._inbound_nodes[node_index].input_tensors
    single = output.shape[-1] == 1
    # Compared by name: the class of the softmax function is not public in Keras.
    if type(operation).__name__ == "Softmax" and not single:
        return inputs[0]
    if isinstance(operation, keras.Model):
        inner = without_last_activation(operation)
        if inner is None or inner is operation:
            return output if inner is operation else None
        return inner(inputs if len(inputs) > 1 else inputs[0])
    activation = getattr(operation, "activation", None)
    last = keras.activations.sigmoid if single else keras.activations.softmax
    if type(operation) is keras.layers.Activation:
        if activation is last:
            return inputs[0]
        if activation is keras.activations.linear:  # casts the dtype, mixed precision
            return _before_cast(output, inputs[0], operation)
    if type(operation) is keras.layers.Dense:
        if activation is keras.activations.linear:
            return output
        # With LoRA or quantization, the kernel consists of several variables.
        plain = not (operation.lora_enabled or operation.quantization_mode)
        if activation is last and plain:
            return _twin(operation)(inputs[0])
    return None


def _before_cast(output: Any, source: Any, cast: Any) -> Any:
    logits = _before_activation(source)
    if logits is None or logits is source:
        return output if logits is source else None
    # A copy: calling the user's layer again would add a node to it.
    return type(cast).from_config(cast.get_config())(logits)


def _twin(layer: keras.layers.Dense) -> keras.layers.Dense:
    """Return a copy of the layer without its activation, on the same variables."""
    twin = keras.layers.Dense.from_config({**layer.get_config(), "activation": None})
    shared = {variable.name: variable for variable in layer.weights}

    def add_weight(*args: Any, name: str, **kwargs: Any) -> Any:
        del args, kwargs
        return shared[name]

    twin.add_weight = add_weight
    return twin


def _logarithm(probabilities: Any) -> Any:
    return ops.log(ops.maximum(ops.cast(probabilities, "float32"), TINY))


def _inputs(model: Any) -> Any:
    return model.inputs if len(model.inputs) > 1 else model.inputs[0]


def _images(model: keras.Model, example: Any) -> Any:
    if example is not None:
        return ops.convert_to_tensor(example)
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or None in shape[1:]:
        raise ValueError(
            f"The layers of {model.name!r} do not show whether it returns "
            "probabilities, and its input shape is unknown. Give images: "
            "logits_of(model, example=x[:1])."
        )
    images = np.random.default_rng(0).random((4, *shape[1:]), dtype="float32")
    return ops.convert_to_tensor(images)
