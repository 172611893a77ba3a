"""What every attack is: a callable on a model and a batch."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from kmtard import backend, losses


@dataclass(frozen=True)
class AttackResult:
    """What an attack found, one entry an image.

    Attributes:
        x_adv: images of the shape that came in, in [0, 1].
        success: bool (batch,), the model's prediction on `x_adv` is not the label.
        queries: int (batch,), images the model was asked about.
        forwards: int (batch,), forward passes, the one that judges included.
        backwards: int (batch,), backward passes.
    """

    x_adv: Any
    success: np.ndarray
    queries: np.ndarray
    forwards: np.ndarray
    backwards: np.ndarray


class Attack:
    """Base of all attacks.

    A subclass gives `perturb`, pure tensor code that may be compiled into a training
    step, `backwards`, the number of gradients it takes for an image, and `get_config`.
    """

    epsilon: float
    backwards: int

    def __init__(self) -> None:
        self._compiled: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()

    def perturb(
        self,
        predict: Callable[[Any], Any],
        x: Any,
        objective: Callable[[Any], Any],
        *,
        seed: Any = None,
        state: Sequence[Any] = (),
    ) -> Any:
        """Return images near `x` on which `objective` is larger.

        Args:
            predict: images -> logits (batch, classes).
            x: (batch, height, width, channels) in [0, 1].
            objective: logits -> (batch,) values to be maximised.
            seed: an integer or a `keras.random.SeedGenerator`, for random starts.
            state: every variable that `predict` reads, when it assigns some of them
                (BatchNorm in training mode); empty otherwise.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `perturb`.")

    def __call__(self, model: Any, x: Any, y: Any, *, seed: int = 0) -> Any:
        """Attack `model` at (`x`, `y`); see `run` for the arguments.

        Returns:
            The adversarial images, in the kind of array that `x` is.
        """
        return self.run(model, x, y, seed=seed).x_adv

    def run(self, model: Any, x: Any, y: Any, *, seed: int = 0) -> AttackResult:
        """Attack `model` at (`x`, `y`) and count what it cost.

        Args:
            model: any Keras model from images in [0, 1] to logits.
            x: (batch, height, width, channels) in [0, 1]; array of any kind.
            y: (batch,) integer labels.
            seed: of the random start; the same seed gives the same images, and a new
                one compiles anew.

        Raises:
            ValueError: `x` is not float in [0, 1], or `y` does not fit it.
        """
        images, labels = np.asarray(_to_numpy(x)), np.asarray(_to_numpy(y))
        check_images(images)
        # A subclassed model does not know its output before it is called.
        check_labels(labels, len(images), getattr(model, "output_shape", (None,))[-1])
        x_adv, success = self._compiled_for(model, seed)(
            ops.convert_to_tensor(images, keras.config.floatx()),
            ops.convert_to_tensor(labels, "int32"),
        )
        forwards = np.full(len(images), self.backwards + 1)
        return AttackResult(
            x_adv if ops.is_tensor(x) else ops.convert_to_numpy(x_adv),
            ops.convert_to_numpy(success),
            queries=forwards,
            forwards=forwards,
            backwards=forwards - 1,
        )

    def _compiled_for(self, model: Any, seed: int) -> Callable[..., Any]:
        functions = self._compiled.setdefault(model, {})
        if seed not in functions:
            # The cache must not keep alive the model that is its key.
            reference = weakref.proxy(model)
            functions[seed] = backend.compile_function(
                reference, lambda x, y: self._attack(reference, x, y, seed)
            )
        return functions[seed]

    def _attack(self, model: Any, x: Any, y: Any, seed: int) -> tuple[Any, Any]:
        def predict(images: Any) -> Any:
            return model(images, training=False)

        x_adv = self.perturb(
            predict, x, lambda logits: losses.cross_entropy(y, logits), seed=seed
        )
        predicted = ops.cast(ops.argmax(predict(x_adv), axis=-1), y.dtype)
        return x_adv, predicted != y

    def get_config(self) -> dict:
        """Return the arguments that make an equal attack."""
        raise NotImplementedError(f"{type(self).__name__} must define `get_config`.")

    @classmethod
    def from_config(cls, config: dict) -> Attack:
        """Make the attack that `get_config` described."""
        return cls(**config)


def check_images(images: np.ndarray) -> None:
    """Refuse images that are not finite floats in [0, 1].

    Raises:
        ValueError: with the range that was found and the usual remedy.
    """
    if images.dtype.kind != "f":
        raise ValueError(
            "Images must be floating point in [0, 1]. Received: dtype "
            f"{images.dtype}. Divide 8-bit images by 255: x.astype('float32') / 255."
        )
    low, high = (images.min(), images.max()) if images.size else (0, 0)
    if np.isnan(low) or np.isnan(high) or np.isinf(low) or np.isinf(high):
        bad = np.flatnonzero(~np.isfinite(images.reshape(len(images), -1)).all(1))
        raise ValueError(
            f"Images must be finite. Received: NaN or infinity in {len(bad)} of "
            f"{len(images)} images, the first at index {bad[0]}."
        )
    if low < 0 or high > 1:
        raise ValueError(
            f"Images must lie in [0, 1]. Received: values in [{low:g}, {high:g}]. "
            "Scale them there, and put any normalisation inside the model, "
            "so that epsilon keeps its meaning."
        )


def check_labels(labels: np.ndarray, images: int, classes: int | None) -> None:
    """Refuse labels that are not one class an image.

    Args:
        labels: (images,) integers in [0, classes).
        images: how many there are.
        classes: of the model; None if not known.

    Raises:
        ValueError: with what was found.
    """
    if labels.shape != (images,) or labels.dtype.kind not in "iu":
        raise ValueError(
            "`y` must be integer labels, one an image. Received: shape "
            f"{labels.shape}, dtype {labels.dtype}, for {images} images."
        )
    low, high = (labels.min(), labels.max()) if labels.size else (0, 0)
    if low < 0 or (classes is not None and high >= classes):
        last = "" if classes is None else classes - 1
        raise ValueError(
            f"`y` must lie in 0 .. {last}, the model's classes. "
            f"Received: labels from {low} to {high}."
        )


def _to_numpy(array: Any) -> Any:
    return ops.convert_to_numpy(array) if ops.is_tensor(array) else array
