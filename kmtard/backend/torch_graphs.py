"""PyTorch: call the layers of a network without Keras's Python code between them.

In small networks on a CPU, that code takes longer than PyTorch itself. It checks and
converts inputs, builds layers, passes masks on, and looks for the value of `training`.
In a graph of float32 layers that are built, all this was done before the first step.
See `fast_layers`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as replaced
from typing import Any
from weakref import WeakKeyDictionary

import keras

# Keras has no public name for the class of its graphs.
from keras.src.models.functional import Functional

from kmtard.backend.fast_layers import replace
from kmtard.backend.torch_layers import can_pad, is_single, padded_convolution

DIRECT = {
    Functional,
    keras.layers.Activation,
    keras.layers.Add,
    keras.layers.AveragePooling2D,
    keras.layers.BatchNormalization,
    keras.layers.Conv2D,
    keras.layers.Dense,
    keras.layers.DepthwiseConv2D,
    keras.layers.Flatten,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.MaxPooling2D,
    keras.layers.ReLU,
    keras.layers.Rescaling,
    keras.layers.ZeroPadding2D,
}
"""Classes whose layers are called directly; not their subclasses."""

IN_TRAINING = {Functional, keras.layers.BatchNormalization}
"""Those of them that compute something else in training."""


def _layer(call: Callable[..., Any], layer: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a layer, without `Layer.__call__` where it would do nothing else."""
    direct = type(layer) in DIRECT and len(args) == 1 and _is_direct(layer, args[0])
    options = dict(kwargs)
    training = options.pop("training", None)
    if not direct or any(value is not None for value in options.values()):
        return call(layer, *args, **kwargs)
    if type(layer) not in IN_TRAINING:
        return layer.call(*args)
    if training is None:  # a layer around this one may know
        return call(layer, *args, **kwargs)
    return layer.call(*args, training=training)


def _is_direct(layer: Any, inputs: Any) -> bool:
    return (
        layer.built
        # Others convert their inputs and variables, or are quantized.
        and layer.dtype_policy.name == "float32"
        and layer.activity_regularizer is None
        and not layer._remat_mode
        and not layer._forward_pre_hooks
        and not layer._forward_hooks
        and not layer._backward_pre_hooks
        and not layer._backward_hooks
        and _fits(layer, inputs)
    )


def _fits(layer: Any, inputs: Any) -> bool:
    """Return whether Keras would neither refuse nor convert the inputs."""
    if type(layer) is Functional:
        plan = _planned(layer)
        return plan is not None and plan.accepts(inputs)
    spec = layer.input_spec
    return all(
        is_single(x)
        and (
            spec is None
            or (spec.ndim in (None, x.ndim) and (spec.min_ndim or 0) <= x.ndim)
            and all(size in (None, x.shape[at]) for at, size in spec.axes.items())
        )
        for x in (inputs if type(inputs) is list else (inputs,))
    )


def _graph(
    call: Callable[..., Any],
    network: Any,
    inputs: Any,
    training: bool | None = None,
    mask: Any = None,
    **kwargs: Any,
) -> Any:
    """Call the layers of a graph in the planned order."""
    plan = _planned(network)
    if mask is not None or kwargs or plan is None or not plan.accepts(inputs):
        return call(network, inputs, training=training, mask=mask, **kwargs)
    options = {} if training is None else {"training": training}
    # It moves images of another device.
    found = {plan.input: keras.ops.convert_to_tensor(inputs)}
    for step in plan.steps:
        given: list[Any] = [found[key] for key in step.inputs]
        given = [given] if step.takes_list else given
        if step.zeros is not None:
            (images,) = given
            if _is_direct(step.zeros, images) and _is_direct(step.operation, images):
                padded = padded_convolution(step.operation, step.zeros, images)
                found[step.output] = padded
                continue
            given = [step.zeros(images)]
        found[step.output] = step.operation(*given, **(options if step.layer else {}))
    return found[plan.output]


@dataclass(frozen=True)
class _Step:
    """One operation of a graph. Tensors are named by the `id` of Keras's symbol.

    `zeros` is the layer whose padding a convolution applies itself.
    """

    operation: Any
    inputs: tuple[int, ...]
    output: int
    takes_list: bool
    layer: bool
    zeros: Any = None


@dataclass(frozen=True)
class _Plan:
    shape: tuple[int | None, ...]
    input: int
    output: int
    steps: list[_Step]

    def accepts(self, images: Any) -> bool:
        """Return whether Keras would neither refuse nor convert the images."""
        return (
            is_single(images)
            and images.ndim == len(self.shape)
            and all(
                expected is None or expected == size
                for expected, size in zip(self.shape, images.shape, strict=True)
            )
        )


_plans: WeakKeyDictionary[Any, _Plan | None] = WeakKeyDictionary()


def _planned(network: Any) -> _Plan | None:
    """Return the plan of a graph; None if Keras has to run it."""
    if network not in _plans:
        _plans[network] = _plan(network)
    return _plans[network]


def _plan(network: Any) -> _Plan | None:
    images, outputs = network._inputs_struct, network._outputs_struct
    if isinstance(images, list) and len(images) == 1:
        (images,) = images
    if not all(isinstance(end, keras.KerasTensor) for end in (images, outputs)):
        return None
    if images.dtype != "float32":
        return None
    steps = []
    for depth in sorted(network._nodes_by_depth, reverse=True):
        for node in network._nodes_by_depth[depth]:
            if not node.is_input:
                step = _step(node)
                if step is None:
                    return None
                steps.append(step)
    steps = _with_padding(steps, id(outputs))
    return _Plan(images.shape, id(images), id(outputs), steps)


def _with_padding(steps: list[_Step], output: int) -> list[_Step]:
    """Merge each zero padding with the convolution that alone uses its result."""
    used = Counter(key for step in steps for key in step.inputs)
    used[output] += 1
    merged: list[_Step] = []
    for step in steps:
        before = next((each for each in merged if (each.output,) == step.inputs), None)
        if (
            before is not None
            and type(step.operation) is keras.layers.Conv2D
            and type(before.operation) is keras.layers.ZeroPadding2D
            and used[before.output] == 1
            and can_pad(step.operation, before.operation)
        ):
            merged.remove(before)
            step = replaced(step, inputs=before.inputs, zeros=before.operation)
        merged.append(step)
    return merged


def _step(node: Any) -> _Step | None:
    """Return a step whose arguments are all tensors; None for others."""
    args, kwargs = node.arguments.args, node.arguments.kwargs
    takes_list = len(args) == 1 and isinstance(args[0], (list, tuple))
    given = args[0] if takes_list else args
    if (
        not all(isinstance(each, keras.KerasTensor) for each in given)
        or any(value is not None for value in kwargs.values())
        or len(node.outputs) != 1
    ):
        return None
    return _Step(
        node.operation,
        tuple(map(id, given)),
        id(node.outputs[0]),
        takes_list,
        isinstance(node.operation, keras.layers.Layer),
    )


replace(Functional, "call", _graph)
replace(keras.layers.Layer, "__call__", _layer)
