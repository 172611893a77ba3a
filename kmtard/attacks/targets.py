"""What can be attacked besides a Keras model: functions, PyTorch modules, ensembles."""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kmtard import backend
from kmtard.attacks.arguments import one_of
from kmtard.backend.types import Logits, Tensor
from kmtard.networks.logits import without_last_activation

AVERAGES = ("logits", "probabilities")


def as_model(target: Any) -> keras.Model:
    """Return a target as a Keras model; a Keras model itself is returned unchanged.

    Args:
        target: a Keras model from images in [0, 1] to (batch, classes). Or a PyTorch
            module in evaluation mode, if PyTorch is the backend. Or any function of
            tensors of the backend, such as one of `keras.ops`; JAX and TensorFlow
            compile it.

    Raises:
        TypeError: the target is none of these.
        ValueError: the target is a PyTorch module, and PyTorch is not the backend, or
            the module is in training mode.
    """
    if isinstance(target, keras.Layer):
        return target
    if backend.is_torch_module(target):
        return TorchModel(target)
    if callable(target):
        return FunctionModel(target)
    raise TypeError(
        "An attack needs a model from images to logits: a Keras model, a PyTorch "
        f"module or a function. Received: {type(target).__name__}."
    )


class FunctionModel(keras.Model):
    """A function from images to logits as a Keras model without weights.

    Args:
        function: maps (batch, ...) images to (batch, classes) logits.
    """

    def __init__(self, function: Callable[[Tensor], Logits]) -> None:
        name = getattr(function, "__name__", type(function).__name__)
        super().__init__(name=name if name.isidentifier() else "function")
        # Keras would wrap a module that is an attribute, and set its mode.
        self._call = lambda images: function(images)

    def call(self, images: Tensor, training: bool | None = None) -> Logits:
        """Return what the function returns."""
        del training
        return self._call(images)

    def get_config(self) -> dict[str, Any]:
        """Raise an error: nothing identifies what a function computes."""
        raise NotImplementedError("A function has no configuration.")


class TorchModel(FunctionModel):
    """A PyTorch module as a Keras model, for images with their channels first.

    Args:
        module: an `nn.Module` in evaluation mode, on Keras's device.

    Raises:
        ValueError: PyTorch is not the backend, or the module is in training mode.
    """

    data_format = "channels_first"

    def __init__(self, module: Any) -> None:
        if keras.config.backend() != "torch":
            raise ValueError(
                "A PyTorch module can be attacked with the backend torch. Received: "
                f"the backend {keras.config.backend()}. Set KERAS_BACKEND=torch before "
                "Keras is imported."
            )
        if module.training:
            raise ValueError(
                f"The module {type(module).__name__} must be in evaluation mode. "
                "Received: a module in training mode. Call its method `eval()` first."
            )
        super().__init__(module)
        self._identity = lambda: _identity(module)

    def get_config(self) -> dict[str, Any]:
        """Return what identifies the module, so that an evaluation can continue.

        Raises:
            OSError: the source of one of its classes is not in a file.
        """
        return self._identity()


def _identity(module: Any) -> dict[str, Any]:
    classes = dict.fromkeys(type(part) for part in module.modules())
    own = [each for each in classes if each.__module__.partition(".")[0] != "torch"]
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(backend.to_numpy(value).tobytes())
    return {
        "layers": str(module),
        "sources": [inspect.getsource(each) for each in own],
        "weights": digest.hexdigest(),
    }


@keras.saving.register_keras_serializable(package="kmtard")
class Ensemble(keras.Model):
    """The average of several models with the same images and classes.

    Args:
        models: two or more targets; see `as_model`. A final softmax is skipped.
        average: "logits" for the mean of the logits, or "probabilities" for the
            logarithm of the mean probabilities.
        name: name of the ensemble.

    Raises:
        ValueError: there are fewer than two models, or `average` is unknown.

    Example:
        >>> both = kmtard.attacks.Ensemble([model, teacher])
        >>> x_adv = kmtard.attacks.fgsm(epsilon=0.1)(both, x, y)
    """

    def __init__(
        self,
        models: Sequence[Any],
        *,
        average: str = "logits",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if len(models) < 2:
            raise ValueError(
                f"`models` must be two or more. Received: {len(models)} models."
            )
        self.models = [as_model(each) for each in models]
        self.average = one_of("average", average, AVERAGES)
        networks = [without_last_activation(each) or each for each in self.models]
        # Keras would count the layers that both lists share twice.
        self._networks = lambda: networks

    def call(self, images: Tensor, training: bool | None = None) -> Logits:
        """Return the average for images (batch, ...)."""
        outputs = [
            ops.cast(each(images, training=training), "float32")
            for each in self._networks()
        ]
        if self.average == "logits":
            return sum(outputs) / len(outputs)
        logarithms = ops.stack([ops.log_softmax(each) for each in outputs])
        return ops.logsumexp(logarithms, axis=0) - math.log(len(outputs))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of an equal ensemble."""
        models = [keras.saving.serialize_keras_object(each) for each in self.models]
        return {"models": models, "average": self.average, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Ensemble:
        """Return the ensemble whose `get_config` returned `config`."""
        models = [keras.saving.deserialize_keras_object(m) for m in config["models"]]
        return cls(**{**config, "models": models})
