"""What every attack is: a callable on a model and images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from kmtard import backend
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.inputs import check_images, check_labels, class_labels
from kmtard.attacks.noise import Noise
from kmtard.backend.types import Array, Labels, Logits, Tensor

BATCH_SIZE = 256
"""Images at a time where nothing else is said."""

HALVINGS = 4
"""A batch shrinks to a sixteenth at most: each size compiles once."""


@dataclass(frozen=True)
class AttackResult:
    """What an attack found, one entry per image.

    Attributes:
        x_adv: images of the shape and kind that came in, float32 in [0, 1].
        success: bool (N,), the model's prediction on `x_adv` is not the label.
        queries: int (N,), images the attack asked the model about.
        forwards: int (N,), forward passes, the one that judges included.
        backwards: int (N,), backward passes.
        predictions: int (N,), the model's prediction on `x_adv`.
    """

    x_adv: Array
    success: np.ndarray
    queries: np.ndarray
    forwards: np.ndarray
    backwards: np.ndarray
    predictions: np.ndarray


@dataclass(frozen=True)
class Found:
    """What `Attack.attack_batch` returns; the pass that judges is not counted.

    Attributes:
        x_adv: float32 tensor of the batch's shape.
        queries: int (batch,).
        forwards: int (batch,).
        backwards: int (batch,).
    """

    x_adv: Tensor
    queries: np.ndarray
    forwards: np.ndarray
    backwards: np.ndarray


@dataclass(frozen=True)
class AttackBatch:
    """A fixed number of images, which `Attack.attack_batch` works on.

    Attributes:
        x: (batch, height, width, channels) float32 tensor in [0, 1]; channels come
            first where the classifier says so.
        y: (batch,) int32 tensor.
        noise: the only source of random numbers.
        active: bool (batch,), the rows to work on; the others come back as they are, at
            no cost.
    """

    x: Tensor
    y: Labels
    noise: Noise
    active: np.ndarray

    def take(self, part: Selection) -> AttackBatch:
        """Return the selected rows as a batch of their own."""
        noise = self.noise.take(part.rows)
        return AttackBatch(part.take(self.x), part.take(self.y), noise, part.active)

    def where_correct(self, predicted: np.ndarray) -> np.ndarray:
        """Return which active rows are classified correctly, bool (batch,)."""
        return self.active & (predicted == ops.convert_to_numpy(self.y))


class Attack:
    """Base of all attacks.

    A subclass gives `attack_batch`; one that networks are trained with also gives
    `perturb`, pure tensor code that may be compiled into a step. Its constructor keeps
    each argument in an attribute of the same name, and whatever else it keeps in names
    that begin with an underscore: `get_config` and `repr` read them there.
    """

    epsilon: float

    def perturb(
        self,
        predict: Callable[[Tensor], Logits],
        x: Tensor,
        objective: Callable[[Logits], Tensor],
        *,
        seed: int | keras.random.SeedGenerator | None = None,
        state: Sequence[keras.Variable] = (),
    ) -> Tensor:
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

    def starting(self, start: str) -> Attack:
        """Return the attack that starts as a method does, where it is free to."""
        del start
        return self

    def attack_batch(self, classifier: Classifier, batch: AttackBatch) -> Found:
        """Attack one batch of a fixed shape.

        Args:
            classifier: what is attacked.
            batch: images, labels, noise, and which rows to work on.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `attack_batch`.")

    def __call__(
        self, model: keras.Model | Classifier, x: Array, y: Labels, **kwargs: Any
    ) -> Array:
        """Attack `model` at (`x`, `y`); see `run` for the arguments.

        Returns:
            The adversarial images, in the kind of array that `x` is.
        """
        return self.run(model, x, y, **kwargs).x_adv

    def run(
        self,
        model: keras.Model | Classifier,
        x: Array,
        y: Labels,
        *,
        seed: int = 0,
        indices: Array | None = None,
        batch_size: int | None = None,
    ) -> AttackResult:
        """Attack `model` at (`x`, `y`) and count what it cost.

        Chance depends on the seed and on an image's number alone: neither the size nor
        the order of the batches matters, nor the backend.

        Args:
            model: any Keras model from images in [0, 1] to logits, or its `Classifier`.
            x: (N, height, width, channels) in [0, 1]; array of any kind.
            y: (N,) or (N, 1) integer labels, or one-hot rows (N, classes).
            seed: of all chance.
            indices: (N,) numbers of the images in their data set; 0 .. N - 1 if None.
            batch_size: images at a time, the last batch filled up to it; if None, 256,
                or the next power of two if there are fewer.

        Raises:
            ValueError: `x` is not float in [0, 1], `y` or `indices` do not fit it,
                `batch_size` is not positive, or the model's logits are not finite.
        """
        images, labels = backend.to_numpy(x), class_labels(backend.to_numpy(y))
        check_images(images)
        classifier = Classifier.of(model, images[:1])
        check_labels(labels, len(images), classifier.num_classes)
        noise = Noise(seed, np.arange(len(images)) if indices is None else indices)
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"`batch_size` must be >= 1. Received: {batch_size}")
        if len(noise.indices) != len(images):
            raise ValueError(
                f"`indices` must number the {len(images)} images. Received: "
                f"{len(noise.indices)} numbers."
            )
        size = batch_size or min(BATCH_SIZE, 1 << (len(images) - 1).bit_length())
        parts = []
        for first in range(0, len(images), size):
            rows = np.arange(first, min(first + size, len(images)))
            padded, active = _padded(rows, size)
            batch = AttackBatch(
                ops.convert_to_tensor(images[padded], "float32"),
                ops.convert_to_tensor(labels[padded], "int32"),
                noise.take(padded),
                active,
            )
            classifier.inspect(batch.x)
            result = self._run_batch(classifier, batch)
            parts.append([values[: len(rows)] for values in result])
        x_adv, *rest = (np.concatenate(values) for values in zip(*parts, strict=True))
        return AttackResult(backend.from_numpy(x_adv, like=x), *rest)

    def _run_batch(
        self, classifier: Classifier, batch: AttackBatch
    ) -> list[np.ndarray]:
        found = self.attack_batch(classifier, batch)
        predictions = classifier.predict(found.x_adv)
        success = predictions != ops.convert_to_numpy(batch.y)
        x_adv = ops.convert_to_numpy(found.x_adv)
        counts = [found.queries, found.forwards + 1, found.backwards]
        return [x_adv, success, *counts, predictions]

    def get_config(self) -> dict:
        """Return the arguments that make an equal attack."""
        return self._settings()

    def _settings(self) -> dict[str, Any]:
        """Return the constructor's arguments by their names."""
        kept = vars(self).items()
        return {name: value for name, value in kept if not name.startswith("_")}

    def __repr__(self) -> str:
        settings = (f"{name}={value!r}" for name, value in self._settings().items())
        return f"{type(self).__name__}({', '.join(settings)})"

    @classmethod
    def from_config(cls, config: dict) -> Attack:
        """Make the attack that `get_config` described."""
        return cls(**config)


@dataclass(frozen=True)
class Selection:
    """Rows of a batch in a smaller batch, whose size is one of few.

    Attributes:
        rows: int (size,), where each row comes from; those that fill up repeat one.
        active: bool (size,), False for those that fill up.
        home: int (batch,), where each row of the batch went, -1 if nowhere.
    """

    rows: np.ndarray
    active: np.ndarray
    home: np.ndarray

    def take(self, values: Array) -> Array:
        """Return the selected rows of a tensor or an array."""
        if isinstance(values, np.ndarray):
            return values[self.rows]
        return ops.take(values, self.rows, axis=0)

    def scatter(self, into: Array, values: Array) -> Array:
        """Return `into` (batch, ...), its selected rows taken from `values`."""
        if isinstance(into, np.ndarray):
            into = into.copy()
            into[self.rows[self.active]] = values[self.active]
            return into
        moved = ops.take(values, np.maximum(self.home, 0), axis=0)
        kept = (self.home < 0).reshape(-1, *[1] * (len(into.shape) - 1))
        return ops.where(kept, into, moved)


def select(active: np.ndarray) -> Selection:
    """Return the rows where `active` (batch,) holds, in the smallest fitting size.

    Sizes are the batch's own, its half, and so on for `HALVINGS`: an attack whose
    images fall one by one costs less and less, and compiles a handful of times.
    """
    rows = np.flatnonzero(active)
    size = len(active)
    for _ in range(HALVINGS):
        size = size if len(rows) > -(-size // 2) else -(-size // 2)
    home = np.full(len(active), -1)
    home[rows] = np.arange(len(rows))
    return Selection(*_padded(rows, size), home)


def _padded(rows: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    fill = np.full(size - len(rows), rows[0] if len(rows) else 0)
    return np.concatenate([rows, fill]), np.arange(size) < len(rows)
