"""Wrap any model as a function from float32 images to float32 logits."""

from __future__ import annotations

import copy
import warnings
import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kmtard import backend
from kmtard.attacks.targets import as_model
from kmtard.backend.types import Array, Logits, Tensor
from kmtard.networks.logits import (
    ONE_OUTPUT,
    are_probabilities,
    without_last_activation,
)

REPEATED = 8
"""Number of passes that must agree: random ones rarely agree so often by chance."""

_TINY = 1e-30
"""Smallest probability inside the logarithm."""


class Classifier:
    """A Keras model as a function from images to logits, in inference mode.

    If the model ends in a softmax, the logits before it are used. If its layers are
    hidden and `inspect` finds that it returns probabilities, their logarithm is used. A
    single output z, without its sigmoid, becomes the logits [0, z]. Each removed
    activation and each logarithm gives a warning. The model itself is never changed.

    A classifier keeps its compiled functions. It uses the current weights of the model,
    but create a new classifier after changing the model's layers or attributes.

    Args:
        model: any Keras model from images in [0, 1] to (batch, classes). Or a PyTorch
            module in evaluation mode, or a function of tensors; see `targets.as_model`.
        example: (1 or more, ...) images; needed if the model is not built.
        channels_last: whether the model expects channels last; None reads this from its
            layers.
        input_range: (low, high) of the images that the model expects. Attacks still use
            images in [0, 1] and measure epsilon there.

    Attributes:
        model: the Keras model, or a Keras model that calls the function.
        num_classes: number of classes, at least 2.
        channels_last: whether images are (height, width, channels).
        probabilities: whether the logarithm of the output is used.
        doing: name of the running attack in a sequence of attacks; otherwise empty.
        pulse: called between the steps of attacks, to report progress.

    Raises:
        TypeError: `model` is neither a model nor a function.
        ValueError: the model does not have one output (batch, classes), or returns one
            number that may be a logit or a probability.
    """

    def __init__(
        self,
        model: Any,
        example: Array | None = None,
        *,
        channels_last: bool | None = None,
        input_range: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        self.model = model = as_model(model)
        self.input_range = input_range
        self.doing = ""
        self.pulse: Callable[[], None] = _nothing
        self._functions: dict[Hashable, Callable[..., Any]] = {}
        self._others: dict[int, Classifier] = {}
        self._averages: dict[int, Classifier] = {}
        self._repeats: bool | None = None
        self._samples = 1
        self._units = _output_units(model, example)
        network = without_last_activation(model)
        self._known = network is not None
        self._network = model if network is None else network
        if self._units == 1 and not self._known:
            raise ValueError(
                f"The model {model.name!r} has one output, which may be a logit "
                "or a probability. End the model with Dense(2), or with Dense(1) and "
                "the activation None or 'sigmoid'."
            )
        self.num_classes = max(2, self._units)
        self.channels_last = (
            _reads_channels_last(model) if channels_last is None else channels_last
        )
        self.probabilities = False
        if self._network is not model:
            name = "sigmoid" if self._units == 1 else "softmax"
            _warn(model, f"its last activation, {name}, is skipped")

    @classmethod
    def of(cls, model: Any, example: Array | None = None) -> Classifier:
        """Return the classifier of a model, or the given classifier itself.

        Args:
            model: a model, as in the constructor, or its `Classifier`.
            example: (1 or more, ...) images; needed if the model is not built.
        """
        return model if isinstance(model, cls) else cls(model, example)

    def other(self, model: Any, example: Array) -> Classifier:
        """Return the classifier of another model, created once per model.

        Args:
            model: for example, the surrogate of a transfer attack.
            example: (1 or more, ...) images.
        """
        if id(model) not in self._others:
            self._others[id(model)] = Classifier.of(model, example)
        return self._others[id(model)]

    def averaged(self, samples: int) -> Classifier:
        """Return a classifier whose logits are the mean of several passes.

        Args:
            samples: number of passes, >= 1.
        """
        if samples not in self._averages:
            average = copy.copy(self)
            average._functions, average._averages = {}, {}
            average._repeats = None
            average._samples = samples * self._samples
            average.pulse = lambda: self.pulse()
            self._averages[samples] = average
        return self._averages[samples]

    def logits(self, images: Tensor) -> Logits:
        """Return float32 logits (batch, classes) of float32 images in [0, 1].

        This is a pure function of tensors, for use inside compiled functions.
        """
        if self._samples == 1:
            return self._logits(images)
        return sum(self._logits(images) for _ in range(self._samples)) / self._samples

    def _logits(self, images: Tensor) -> Logits:
        outputs = self._network(self._scaled(images), training=False)
        logits = ops.cast(outputs, "float32")
        if self.probabilities:
            logits = ops.log(ops.maximum(logits, _TINY))
        if self._units == 1:
            logits = ops.pad(logits, [[0, 0], [1, 0]])
        return logits

    def outputs(self, images: Tensor) -> Tensor:
        """Return the model's own output for images in [0, 1]."""
        return self.model(self._scaled(images), training=False)

    def scores(self, images: Tensor) -> np.ndarray:
        """Return the logits (batch, classes) as a NumPy array, by a compiled pass."""
        return ops.convert_to_numpy(self.compiled("logits", self.logits)(images))

    def inspect(self, images: Tensor) -> None:
        """Check on images (batch, ...) whether the model returns probabilities.

        Only the first call does this, and only if the layers do not show it.
        """
        if self._known:
            return
        self._known = True
        outputs = self.scores(images)
        if are_probabilities(outputs):
            self.probabilities = True
            self._functions.clear()
            self._averages.clear()
            _warn(self.model, "the logarithm of its outputs is used")

    def repeats(self, images: Tensor) -> bool:
        """Return whether the model seems to give the same logits to the same images.

        Only the first call finds this out. The passes must draw no random numbers of
        Keras, and their logits must be equal.

        Args:
            images: float32 (batch, ...).
        """
        if self._repeats is None:
            before = self._random_state()
            once, *again = (self.scores(images) for _ in range(REPEATED))
            same = all(np.array_equal(once, other) for other in again)
            self._repeats = same and self._random_state() == before
        return self._repeats

    def _random_state(self) -> list[list]:
        """Return the values of the variables that are no weights, such as seeds."""
        weights = {id(weight) for weight in self.model.weights}
        others = (each for each in self.model.variables if id(each) not in weights)
        return [ops.convert_to_numpy(each.value).tolist() for each in others]

    def predict(self, images: Tensor) -> np.ndarray:
        """Return the predicted class of each image; the first one wins a tie.

        Args:
            images: float32 (batch, ...).

        Returns:
            int (batch,).

        Raises:
            ValueError: logits are NaN or infinite.
        """
        logits = self.scores(images)
        finite = np.isfinite(logits).all(axis=1)
        if not finite.all():
            raise ValueError(
                f"The logits of {self.model.name!r} must be finite. Received: NaN or "
                f"infinity for {np.sum(~finite)} of {len(logits)} images, the first in "
                f"row {np.argmin(finite)} of the batch. Such an image is neither "
                "robust nor fooled. Fix the model."
            )
        return logits.argmax(axis=1)

    def compiled(
        self, key: Hashable, function: Callable[..., Any]
    ) -> Callable[..., Any]:
        """Return `function`, compiled once for this key.

        Args:
            key: identifies the function and every Python value that it uses.
            function: maps nested tensors to nested tensors; may call `logits`.
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
        """Return the state after a number of steps, without waiting for the device.

        Args:
            key: identifies the step, as in `compiled`; it need not contain `steps`.
            step: `step(state, *constants) -> state`, nested tensors of fixed shapes.
            state: nested tensors.
            steps: number of steps, >= 0.
            constants: nested tensors that do not change.
        """
        # On a CPU, XLA runs convolutions inside a loop at half the speed.
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
    """Do nothing: the default of `Classifier.pulse`."""


def _output_units(model: Any, example: Any) -> int:
    try:
        shape = model.output_shape
    except (AttributeError, ValueError):
        if example is None:
            raise ValueError(
                f"The output shape of the model {model.name!r} is unknown. Call the "
                "model on an image first, or give `example`."
            ) from None
        outputs = model(ops.convert_to_tensor(example, "float32"), training=False)
        shape = keras.tree.map_structure(lambda each: each.shape, outputs)
    shape = tuple(shape) if hasattr(shape, "__iter__") else shape
    if not (isinstance(shape, tuple) and len(shape) == 2 and isinstance(shape[1], int)):
        raise ValueError(
            f"The model {model.name!r} must have one output (batch, classes). "
            f"Received: output shape {shape}. {ONE_OUTPUT}"
        )
    return int(shape[1])


def _reads_channels_last(model: Any) -> bool:
    formats = (getattr(layer, "data_format", None) for layer in model._flatten_layers())
    known = next((name for name in formats if name), None)
    return (known or keras.config.image_data_format()) == "channels_last"


def _warn(model: Any, what: str) -> None:
    warnings.warn(
        f"Attacks need logits, but {model.name!r} returns probabilities: {what}. "
        "kmtard.networks.logits_of(model) returns a model of the logits.",
        stacklevel=2,
    )
