"""Any Keras model without its softmax."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

# By which probabilities may leave [0, 1] or miss the sum of 1; half precision sums less
# exactly.
SLACK = 1e-2
TINY = 1e-30


def logits_of(model: keras.Model, example: Any = None) -> keras.Model:
    """Return a model of the logits of a classifier that ends in a softmax.

    The result has a second output path, before the softmax, and shares every layer and
    weight with the given model, which is not changed: train either one, and both have
    learned. Both can be saved and loaded as before.

    A softmax is found at the end of a functional or sequential model, also within
    nested ones: as the activation of the last layer, as a layer, or as a function.
    Where the end is hidden, as in a subclassed model, images tell whether the outputs
    are probabilities; then their logarithm is taken, which has the same softmax.

    Args:
        model: any Keras model from images to probabilities (batch, classes).
        example: (1 or more, ...) images, needed for a model that does not know its
            input shape.

    Returns:
        A model from the same images to logits; `model` itself if it gives these.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: the model does not know its input shape, and there is no example.

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
    # The logarithm is one output more of a functional model, and a model around others.
    if inputs:
        return keras.Model(_inputs(model), _logarithm(model.outputs[0]))
    inputs = keras.Input(images.shape[1:], dtype=images.dtype)
    return keras.Model(inputs, _logarithm(model(inputs)))


def are_probabilities(outputs: np.ndarray) -> bool:
    """Tell whether outputs (batch, classes) look like those of a softmax."""
    outputs = outputs.astype("float32")
    if outputs.ndim != 2 or outputs.shape[1] < 2 or not np.isfinite(outputs).all():
        return False
    inside = outputs.min() >= -SLACK and outputs.max() <= 1 + SLACK
    return bool(inside and np.abs(outputs.sum(-1) - 1).max() <= SLACK)


def without_last_activation(model: keras.Model) -> keras.Model | None:
    """Return a model without the softmax that the layers of a model show at its end.

    Of a single output, the sigmoid is left out.

    Args:
        model: any Keras model; nothing about it changes, and it is not called.

    Returns:
        A model on the same layers and weights, `model` itself if it gives logits, None
        if its layers do not tell.
    """
    if not _runs_its_graph(model) or len(model.outputs) != 1:
        return None
    outputs = _before_activation(model.outputs[0])
    if outputs is None or outputs is model.outputs[0]:
        return model if outputs is not None else None
    return keras.Model(_inputs(model), outputs, name=model.name)


def _runs_its_graph(model: Any) -> bool:
    """Tell whether a model computes what its layers say, and nothing of its own."""
    of_keras = type(model).__module__.partition(".")[0] == "keras"
    return of_keras and "call" not in vars(model) and bool(_outputs(model))


def _outputs(model: Any) -> Any:
    return getattr(model, "outputs", None)


def _before_activation(output: Any) -> Any:
    """Return what is before the softmax of an output, or the sigmoid of a single one.

    Args:
        output: symbolic, (batch, classes).

    Returns:
        Symbolic logits, `output` itself if it is these, None if it cannot be told.
    """
    operation, node_index, _ = output._keras_history
    [*inputs] = operation._inbound_nodes[node_index].input_tensors
    single = output.shape[-1] == 1
    # The layer and the function have this name; the latter is in no public module.
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
        if activation is keras.activations.linear:  # a cast, after mixed precision
            return _before_cast(output, inputs[0], operation)
    if type(operation) is keras.layers.Dense:
        if activation is keras.activations.linear:
            return output
        # The matrix of LoRA and of quantization is more than one variable.
        plain = not (operation.lora_enabled or operation.quantization_mode)
        if activation is last and plain:
            return _twin(operation)(inputs[0])
    return None


def _before_cast(output: Any, source: Any, cast: Any) -> Any:
    logits = _before_activation(source)
    if logits is None or logits is source:
        return output if logits is source else None
    # A layer of its own: calling the user's would leave a trace on it.
    return type(cast).from_config(cast.get_config())(logits)


def _twin(layer: keras.layers.Dense) -> keras.layers.Dense:
    """Return the layer without its activation, on the same variables."""
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
            f"Whether {model.name!r} gives probabilities cannot be seen from its "
            "layers, and its input shape is not known. Give images: "
            "logits_of(model, example=x[:1])."
        )
    images = np.random.default_rng(0).random((4, *shape[1:]), dtype="float32")
    return ops.convert_to_tensor(images)
