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
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import keras

# Keras has no public names for these.
from keras.src.backend.common.stateless_scope import in_stateless_scope
from keras.src.models.functional import Functional

from kmtard.backend.fast_layers import derived, replace
from kmtard.backend.torch_layers import (
    added,
    can_convolve,
    can_fold,
    convolution,
    is_linear,
    is_relu,
    is_single,
    normalized,
)

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

RECTIFIED = {
    keras.layers.Add,
    keras.layers.BatchNormalization,
    keras.layers.Conv2D,
}
"""Classes whose outputs a ReLU may overwrite: their gradients do not need them."""


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
    """Return whether Keras's code around the call would do nothing."""
    return _is_simple(layer) and _fits(layer, inputs)


def _is_simple(layer: Any) -> bool:
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
    )


def _fits(layer: Any, inputs: Any) -> bool:
    """Return whether Keras would neither refuse nor convert the inputs."""
    if type(layer) is Functional:
        plan = _plans.get(layer) or _planned(layer)
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
    kept = derived()
    # Inside a stateless scope, the weights are not those of the variables.
    keeps = kept is not None and training is False and not in_stateless_scope()
    program = kept.get(network) if kept and keeps else None
    plan = _planned(network) if program is None else program.plan
    if mask is not None or kwargs or plan is None or not plan.accepts(inputs):
        return call(network, inputs, training=training, mask=mask, **kwargs)
    # It moves images of another device.
    images = keras.ops.convert_to_tensor(inputs)
    found = {plan.input: images}
    if kept is None or not (keeps and can_fold(images)):
        for step in plan.steps:
            found[step.output] = step.run([found[key] for key in step.inputs], training)
        return found[plan.output]
    if program is None or not program.is_current():
        program = kept[network] = plan.program()
    for step, run in program.calls:
        found[step.output] = run([found[key] for key in step.inputs])
    return found[plan.output]


@dataclass(frozen=True)
class _Step:
    """One operation of a graph, with the layers that are merged into it.

    Tensors are named by the `id` of Keras's symbol.

    Attributes:
        operation: the operation.
        inputs: the tensors that it gets.
        output: the tensor that it, or the last layer after it, returns.
        takes_list: whether the operation gets a list.
        zeros: the `ZeroPadding2D` before a convolution, or None.
        norm: the `BatchNormalization` after a convolution, or None.
        relu: the `ReLU` after all of these, or None.
    """

    operation: Any
    inputs: tuple[int, ...]
    output: int
    takes_list: bool
    zeros: Any = None
    norm: Any = None
    relu: Any = None

    @property
    def layers(self) -> list[Any]:
        """The operation and the merged layers, in the order of computation."""
        every = self.zeros, self.operation, self.norm, self.relu
        return [each for each in every if each is not None]

    def holds(self) -> bool:
        """Return whether the layers can still be merged.

        A user may have given a layer another activation, for example.
        """
        layer, zeros, norm, relu = self.operation, self.zeros, self.norm, self.relu
        is_convolution = type(layer) is keras.layers.Conv2D
        if is_convolution and not (zeros is None and norm is None and relu is None):
            alone = norm is None and relu is None
            if not (can_convolve(layer, zeros, norm) and (alone or is_linear(layer))):
                return False
        return relu is None or is_relu(relu)

    def run(self, given: list[Any], training: bool | None) -> Any:
        """Return the output."""
        layers = self.layers
        x = given if self.takes_list else given[0]
        # Keras checked the shapes between the layers when it built the graph.
        if len(layers) > 1 and all(map(_is_simple, layers)) and _fits(layers[0], x):
            outputs, layers = self._at_once(x, training, layers)
            given = [outputs]
        elif self.takes_list:
            given = [given]
        for layer in layers:
            given = [_called(layer, given, training)]
        return given[0]

    def _at_once(
        self, x: Any, training: bool | None, layers: list[Any]
    ) -> tuple[Any, list[Any]]:
        """Return the outputs of as many layers as possible, and the layers left."""
        layer, norm, rectify = self.operation, self.norm, self.relu is not None
        if type(layer) is keras.layers.Add:
            outputs = added(x, rectify=rectify)
            return (x, layers) if outputs is None else (outputs, [])
        if type(layer) is keras.layers.Conv2D:
            if norm is None or (training is False and can_fold(x)):
                return self.convolution()[0](x), []
            x = convolution(layer, zeros=self.zeros)[0](x)
            layer, layers = norm, layers[layers.index(norm) :]
        # If `training` is None, Keras takes it from an enclosing layer.
        if training is None:
            return x, layers
        outputs = normalized(layer, x, training, rectify=rectify)
        return (x, layers) if outputs is None else (outputs, [])

    def convolution(self) -> tuple[Callable[[Any], Any], list[Any]]:
        """Return all layers as one function, if the operation is a convolution."""
        return convolution(
            self.operation,
            zeros=self.zeros,
            norm=self.norm,
            rectify=self.relu is not None,
        )

    def bound(self) -> tuple[Callable[[list[Any]], Any], list[Any]]:
        """Return a function for predictions, and the tensors that it was made from.

        It computes with the current weights, and does not check simple layers again.
        """
        layer = self.operation
        if type(layer) is keras.layers.Conv2D and can_convolve(layer, None, None):
            if not layer.lora_enabled:  # LoRA computes the kernel anew at each call
                convolved, sources = self.convolution()
                return (lambda given: convolved(given[0])), sources
        elif len(self.layers) == 1 and type(layer) in DIRECT - IN_TRAINING:
            call = layer.call
            return (call if self.takes_list else lambda given: call(*given)), []
        return partial(self.run, training=False), []


def _called(operation: Any, arguments: list[Any], training: bool | None) -> Any:
    if training is None or not isinstance(operation, keras.layers.Layer):
        return operation(*arguments)
    return operation(*arguments, training=training)


@dataclass(frozen=True)
class _Plan:
    shape: tuple[int | None, ...]
    input: int
    output: int
    steps: list[_Step]

    def program(self) -> _Program:
        """Return the steps for predictions with the current weights."""
        calls: list[tuple[_Step, Callable[[list[Any]], Any]]] = []
        sources: list[Any] = []
        every = [layer for step in self.steps for layer in step.layers]
        layers = [each for each in every if isinstance(each, keras.layers.Layer)]
        simple = all(type(each) in DIRECT and _is_simple(each) for each in layers)
        for step in self.steps:
            if simple:
                run, used = step.bound()
            else:
                run, used = partial(step.run, training=False), []
            calls.append((step, run))
            sources += used
        # PyTorch does not count the changes of inference tensors.
        if any(each.is_inference() for each in sources):
            calls = [(each, partial(each.run, training=False)) for each in self.steps]
            sources = []
        return _Program(self, calls, sources, [each._version for each in sources])

    def holds(self) -> bool:
        """Return whether the merged layers can still be merged."""
        return all(step.holds() for step in self.steps)

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


@dataclass(frozen=True)
class _Program:
    """The steps of a plan as functions, valid until the weights change.

    Attributes:
        plan: the plan.
        calls: each step, and the function of its inputs.
        sources: the tensors that the functions were made from.
        versions: PyTorch's count of the changes of each source until then.
    """

    plan: _Plan
    calls: list[tuple[_Step, Callable[[list[Any]], Any]]]
    sources: list[Any]
    versions: list[int]

    def is_current(self) -> bool:
        """Return whether the weights have not changed."""
        return [each._version for each in self.sources] == self.versions


_plans: WeakKeyDictionary[Any, _Plan | None] = WeakKeyDictionary()


def _planned(network: Any) -> _Plan | None:
    """Return the plan of a graph; None if Keras has to run it."""
    known = network in _plans
    plan = _plans.get(network)
    if not known or (plan is not None and not plan.holds()):
        plan = _plans[network] = _plan(network)
    return plan


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
    return _Plan(images.shape, id(images), id(outputs), _merge(steps, id(outputs)))


def _merge(steps: list[_Step], output: int) -> list[_Step]:
    """Merge each layer with the one before it, if they can be computed together."""
    used = Counter(key for step in steps for key in step.inputs)
    used[output] += 1
    merged: list[_Step] = []
    for step in steps:
        before = next((each for each in merged if (each.output,) == step.inputs), None)
        both = None
        if before is not None and used[before.output] == 1:
            both = _both(before, step)
        if before is not None and both is not None:
            merged.remove(before)
        merged.append(both or step)
    return merged


def _both(before: _Step, step: _Step) -> _Step | None:
    """Return two steps as one, or None if they cannot be computed together."""
    first, second = before.operation, step.operation
    both = None
    if before.relu is None:
        match type(first), type(second):
            case keras.layers.ZeroPadding2D, keras.layers.Conv2D:
                both = replaced(step, inputs=before.inputs, zeros=first)
            case keras.layers.Conv2D, keras.layers.BatchNormalization:
                if before.norm is None:
                    both = replaced(before, output=step.output, norm=second)
            case type_, keras.layers.ReLU if type_ in RECTIFIED:
                both = replaced(before, output=step.output, relu=second)
    return both if both is not None and both.holds() else None


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
    inputs = tuple(map(id, given))
    return _Step(node.operation, inputs, id(node.outputs[0]), takes_list)


replace(Functional, "call", _graph)
replace(keras.layers.Layer, "__call__", _layer)
