"""Any Keras model as what attacks need: float32 images to float32 logits."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kmtard import backend
from kmtard.backend.types import Array, Logits, Tensor
from kmtard.networks.logits import are_probabilities, without_last_activation

_TINY = 1e-30
"""What a probability of zero counts as inside the logarithm."""


class Classifier:
    """A Keras model as a function from images to logits, in inference mode.

    Attacks follow a second output of the model, before its last softmax; where the end
    is hidden and `inspect` finds probabilities, their logarithm is taken. A single
    output z becomes the logits [0, z], its sigmoid left out. What is not plain logits
    warns. The model itself is never changed.

    A classifier sees the model as it is when it is made, and keeps what was compiled:
    make a new one after a change of the model's layers or attributes. New values of its
    weights are seen.

    Args:
        model: any Keras model from images in [0, 1] to (batch, classes).
        example: (1 or more, ...) images; needed by models which are not built.
        channels_last: how the model reads images; None asks its layers.
        input_range: of the images that the model was made for. Attacks see images in
            [0, 1] all the same, and measure epsilon there.

    Attributes:
        model: the Keras model.
        num_classes: at least 2.
        channels_last: whether images are (height, width, channels).
        probabilities: whether the logarithm of the output is taken.
        doing: which attack of a sequence is at work; empty where there is none.
        pulse: called between the steps of attacks, to tell that they go on.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: it has not one output (batch, classes), or just one number whose
            meaning is hidden.
    """

    def __init__(
        self,
        model: keras.Model,
        example: Array | None = None,
        *,
        channels_last: bool | None = None,
        input_range: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        if not isinstance(model, keras.Layer):
            raise TypeError(
                "An attack needs a Keras model from images to logits. Received: "
                f"{type(model).__name__}."
            )
        self.model = model
        self.input_range = input_range
        self.doing = ""
        self.pulse: Callable[[], None] = _nothing
        self._functions: dict[Hashable, Callable[..., Any]] = {}
        self._others: dict[int, Classifier] = {}
        self._units = _output_units(model, example)
        network = without_last_activation(model)
        self._known = network is not None
        self._network = model if network is None else network
        if self._units == 1 and not self._known:
            raise ValueError(
                f"The model `{model.name}` has one output, and whether it is a logit "
                "or a probability cannot be told. End it with Dense(2), or with "
                "Dense(1), activation None or 'sigmoid'."
            )
        self.num_classes = max(2, self._units)
        self.channels_last = (
            _reads_channels_last(model) if channels_last is None else channels_last
        )
        self.probabilities = False
        if self._network is not model:
            name = "sigmoid" if self._units == 1 else "softmax"
            _warn(model, f"its last activation, {name}, is left out")

    @classmethod
    def of(
        cls, model: keras.Model | Classifier, example: Array | None = None
    ) -> Classifier:
        """Return a new classifier of a model, or the one given; see the class."""
        return model if isinstance(model, cls) else cls(model, example)

    def other(self, model: keras.Model | Classifier, example: Array) -> Classifier:
        """Return the classifier of another model, made once for each of them.

        Args:
            model: such as the surrogate of a transfer attack.
            example: (1 or more, ...) images.
        """
        if id(model) not in self._others:
            self._others[id(model)] = Classifier.of(model, example)
        return self._others[id(model)]

    def logits(self, images: Tensor) -> Logits:
        """Return float32 logits (batch, classes) of float32 images; pure."""
        outputs = self._network(self._scaled(images), training=False)
        logits = ops.cast(outputs, "float32")
        if self.probabilities:
            logits = ops.log(ops.maximum(logits, _TINY))
        if self._units == 1:
            logits = ops.pad(logits, [[0, 0], [1, 0]])
        return logits

    def outputs(self, images: Tensor) -> Tensor:
        """Return what the model itself gives for images in [0, 1]."""
        return self.model(self._scaled(images), training=False)

    def scores(self, images: Tensor) -> np.ndarray:
        """Return the logits (batch, classes) as an array, by one compiled pass."""
        return ops.convert_to_numpy(self.compiled("logits", self.logits)(images))

    def inspect(self, images: Tensor) -> None:
        """Find out, once, from images (batch, ...) what the layers do not tell."""
        if self._known:
            return
        self._known = True
        outputs = self.scores(images)
        if are_probabilities(outputs):
            self.probabilities = True
            self._functions.clear()
            _warn(self.model, "the logarithm of its outputs is taken")

    def predict(self, images: Tensor) -> np.ndarray:
        """Return the predicted class of each image; the first one wins a tie.

        Args:
            images: float32 (batch, ...).

        Returns:
            int (batch,).

        Raises:
            ValueError: logits are NaN or infinite; robustness of such is no number.
        """
        logits = self.scores(images)
        finite = np.isfinite(logits).all(axis=1)
        if not finite.all():
            raise ValueError(
                f"The logits of `{self.model.name}` must be finite. Received: NaN or "
                f"infinity for {np.sum(~finite)} of {len(logits)} images, the first at "
                f"row {np.argmin(finite)} of the batch. Neither robust nor fooled: "
                "fix the model."
            )
        return logits.argmax(axis=1)

    def compiled(
        self, key: Hashable, function: Callable[..., Any]
    ) -> Callable[..., Any]:
        """Return `function`, compiled once for this key.

        Args:
            key: names the function and every Python value that is built into it.
            function: (nested) tensors to (nested) tensors; may call `logits`.
        """
        if key not in self._functions:
            self._functions[key] = backend.compile_function(
                weakref.proxy(self.model), function
            )
        return self._functions[key]

    def loop(
        self,
        key: Hashable,
        step: Callable[..., Any],
        state: Any,
        steps: int,
        constants: Sequence[Any] = (),
    ) -> Any:
        """Return the state after so many steps, without waiting for the device.

        Args:
            key: names the step, as in `compiled`; the number of steps is no part of it.
            step: `step(state, *constants) -> state`, nested tensors of fixed shapes.
            state: nested tensors.
            steps: how many, >= 0.
            constants: nested tensors that stay.
        """
        # XLA runs convolutions inside a loop at half the speed on a CPU.
        if backend.on_cpu():
            compiled = self.compiled((key, "step"), step)
            for _ in range(steps):
                self.pulse()
                state = compiled(state, *constants)
            return state

        def looped(steps: Any, state: Any, *constants: Any) -> Any:
            return ops.fori_loop(0, steps, lambda _, s: step(s, *constants), state)

        self.pulse()
        count = ops.convert_to_tensor(steps, "int32")
        return self.compiled((key, "loop"), looped)(count, state, *constants)

    def _scaled(self, images: Tensor) -> Tensor:
        low, high = self.input_range
        return images if (low, high) == (0, 1) else images * (high - low) + low


def _nothing() -> None:
    """Be called in vain."""


def _output_units(model: Any, example: Any) -> int:
    try:
        shape = model.output_shape
    except (AttributeError, ValueError):
        if example is None:
            raise ValueError(
                f"The model `{model.name}` does not know its output. Call it on an "
                "image first, or give `example`."
            ) from None
        outputs = model(ops.convert_to_tensor(example, "float32"), training=False)
        shape = keras.tree.map_structure(lambda each: each.shape, outputs)
    shape = tuple(shape) if hasattr(shape, "__iter__") else shape
    if not (isinstance(shape, tuple) and len(shape) == 2 and isinstance(shape[1], int)):
        raise ValueError(
            f"The model `{model.name}` must have one output (batch, classes). "
            f"Received: output shape {shape}. Give a model of that output alone: of "
            "several, keras.Model(model.inputs, model.outputs[0]); of one with more "
            "axes, keras.Sequential([model, keras.layers.Flatten()])."
        )
    return int(shape[1])


def _reads_channels_last(model: Any) -> bool:
    formats = (getattr(layer, "data_format", None) for layer in model._flatten_layers())
    known = next((name for name in formats if name), None)
    return (known or keras.config.image_data_format()) == "channels_last"


def _warn(model: Any, what: str) -> None:
    warnings.warn(
        f"Attacks need logits, and `{model.name}` gives probabilities: {what}. "
        "kmtard.networks.logits_of(model) is a model of the logits.",
        stacklevel=2,
    )
