"""The base class of all attacks: a callable on a model, images and labels."""

from __future__ import annotations

import copy
import functools
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
from kmtard.attacks.norms import column, radii
from kmtard.backend.types import Array, Labels, Logits, Tensor

BATCH_SIZE = 256
"""Default number of images per batch."""

HALVINGS = 4
"""How often a batch may be halved; each batch size is compiled once."""

DIVIDED = 32
"""Smallest power of two below which `backend.size_steps()` may add batch sizes."""


@dataclass(frozen=True)
class AttackResult:
    """The result of an attack, one entry per image.

    Attributes:
        x_adv: adversarial images, float32 in [0, 1], in the shape and the array type of
            the input.
        success: bool (N,), whether the model's prediction on `x_adv` is wrong; in a
            targeted attack, whether it is the class to reach.
        queries: int (N,), number of images on which the attack queried the model.
        forwards: int (N,), number of forward passes, including the final prediction.
        backwards: int (N,), number of backward passes.
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
    """What `Attack.attack_batch` returns; counts exclude the final prediction.

    Attributes:
        x_adv: float32 tensor of the batch's shape, in [0, 1].
        queries: int (batch,), as in `AttackResult`.
        forwards: int (batch,), number of forward passes.
        backwards: int (batch,), number of backward passes.
    """

    x_adv: Tensor
    queries: np.ndarray
    forwards: np.ndarray
    backwards: np.ndarray


@dataclass(frozen=True)
class AttackBatch:
    """A fixed number of images for `Attack.attack_batch`.

    Attributes:
        x: (batch, height, width, channels) float32 tensor in [0, 1], or channels first
            if the classifier is.
        y: (batch,) int32 tensor, the labels.
        noise: the only source of random numbers.
        active: bool (batch,), the rows to attack. The other rows are returned unchanged
            and do not count as cost.
        targeted: whether `y` are the classes to reach, not the labels.
        epsilons: float32 (batch,), the radius of each image; None for the attack's.
    """

    x: Tensor
    y: Labels
    noise: Noise
    active: np.ndarray
    targeted: bool = False
    epsilons: np.ndarray | None = None

    def take(self, part: Selection) -> AttackBatch:
        """Return the selected rows as a new batch."""
        return AttackBatch(
            part.take(self.x),
            part.take(self.y),
            self.noise.take(part.rows),
            part.active,
            self.targeted,
            None if self.epsilons is None else part.take(self.epsilons),
        )

    def fooled(self, predicted: np.ndarray) -> np.ndarray:
        """Return which predictions (batch,) an attack aims at, bool (batch,)."""
        reached = predicted == ops.convert_to_numpy(self.y)
        return reached if self.targeted else ~reached

    def where_unfooled(self, predicted: np.ndarray) -> np.ndarray:
        """Return which active rows have another prediction, bool (batch,)."""
        return self.active & ~self.fooled(predicted)

    def radii(self, epsilon: float) -> Tensor:
        """Return the radius of each image, (batch, 1, ...).

        Args:
            epsilon: the attack's radius, unless the batch has its own.
        """
        if self.epsilons is None:
            return radii(epsilon, self.x)
        return ops.reshape(ops.convert_to_tensor(self.epsilons), column(self.x))

    def step_sizes(self, step_size: float, epsilon: float) -> Tensor:
        """Return the step size of each image, in proportion to its radius.

        Args:
            step_size: the attack's step size.
            epsilon: the attack's radius, > 0 if the batch has its own.

        Returns:
            (batch, 1, ...).
        """
        if self.epsilons is None:
            return radii(step_size, self.x)
        return self.radii(epsilon) * (step_size / epsilon)


class Attack:
    """Base class of all attacks.

    A subclass defines `attack_batch`. An attack for training also defines `perturb`,
    pure tensor code that can be compiled into a training step. The constructor stores
    each argument in an attribute of the same name, where `get_config` and `repr` read
    it. The names of all other attributes begin with an underscore.

    Attributes:
        epsilon: radius of the ball in pixel intensity.
        can_target: whether the attack can aim at one given class per image.
    """

    epsilon: float
    can_target: bool = False

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
            predict: maps images to logits (batch, classes).
            x: (batch, height, width, channels) in [0, 1].
            objective: maps logits to (batch,) values to be maximized.
            seed: an integer or a `keras.random.SeedGenerator`, for random starts.
            state: if `predict` assigns variables (BatchNorm in training mode), every
                variable that it reads; otherwise empty.

        Returns:
            Adversarial images of the shape of `x`, in [0, 1]. No gradient flows through
            them.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `perturb`.")

    def starting(self, start: str) -> Attack:
        """Return this attack with a method's start, unless it has its own.

        Args:
            start: name of the start in `kmtard.attacks.gradient.STARTS`.
        """
        del start
        return self

    def scaled(self, share: float | Tensor) -> Attack:
        """Return this attack with a share of its radius and step size, for `perturb`.

        Args:
            share: in [0, 1].

        Example:
            >>> kmtard.attacks.PGD(8 / 255, step_size=2 / 255).scaled(0.5).epsilon
            0.01568627450980392
        """
        attack = copy.copy(self)
        for name in {"epsilon", "step_size"} & vars(self).keys():
            setattr(attack, name, getattr(self, name) * share)
        return attack

    def attack_batch(self, classifier: Classifier, batch: AttackBatch) -> Found:
        """Attack one batch of a fixed shape.

        Args:
            classifier: the attacked model.
            batch: images, labels, noise, and the rows to attack.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `attack_batch`.")

    def __call__(self, model: Any, x: Array, y: Labels, **kwargs: Any) -> Array:
        """Attack `model` at (`x`, `y`); see `run` for the arguments.

        Returns:
            The adversarial images, in the array type of `x`.
        """
        return self.run(model, x, y, **kwargs).x_adv

    def run(
        self,
        model: Any,
        x: Array,
        y: Labels,
        *,
        seed: int = 0,
        indices: Array | None = None,
        batch_size: int | None = None,
        targeted: bool = False,
        epsilons: Array | None = None,
    ) -> AttackResult:
        """Attack `model` at (`x`, `y`), and count queries and passes.

        The random numbers of an image depend only on the seed and on the number of the
        image, and not on the backend or on the size and order of the batches.

        Args:
            model: any Keras model from images in [0, 1] to logits, a PyTorch module, or
                a function of tensors; see `targets.as_model`. Or its `Classifier`.
            x: (N, height, width, channels) floats in [0, 1], an array of any library.
            y: (N,) or (N, 1) integer labels, or one-hot rows (N, classes).
            seed: seed of all random numbers.
            indices: (N,) integers >= 0, the numbers of the images in their data set;
                None for 0 to N - 1.
            batch_size: images per batch, >= 1; the last batch is padded to this size.
                None for 256, or for the next power of two >= N if N is smaller.
            targeted: if True, `y` are the classes to reach: an attack succeeds where
                the prediction is `y`, and it decreases the loss for `y`. Only attacks
                with `can_target` support this.
            epsilons: (N,) numbers >= 0, the radius of each image; None for the attack's
                own. Step sizes are scaled with them.

        Returns:
            The adversarial images, whether they succeeded, and the cost.

        Raises:
            ValueError: `x` is not float in [0, 1], `y`, `indices` or `epsilons` do not
                fit `x`, `batch_size` is below 1, the attack cannot aim at a class, or
                the model's logits are not finite.
        """
        self._check_target(targeted)
        images, labels = backend.to_numpy(x), class_labels(backend.to_numpy(y))
        check_images(images)
        classifier = Classifier.of(model, images[:1])
        check_labels(labels, len(images), classifier.num_classes)
        noise = Noise(seed, np.arange(len(images)) if indices is None else indices)
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"`batch_size` must be >= 1. Received: {batch_size!r}.")
        if len(noise.indices) != len(images):
            raise ValueError(
                f"`indices` must have one number for each of the {len(images)} images. "
                f"Received: {len(noise.indices)} numbers."
            )
        given = None if epsilons is None else self._checked(epsilons, len(images))
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
                targeted,
                None if given is None else given[padded],
            )
            classifier.inspect(batch.x)
            result = self._run_batch(classifier, batch)
            parts.append([values[: len(rows)] for values in result])
        x_adv, *rest = (np.concatenate(values) for values in zip(*parts, strict=True))
        return AttackResult(backend.from_numpy(x_adv, like=x), *rest)

    @backend.keep_derived()
    def _run_batch(
        self, classifier: Classifier, batch: AttackBatch
    ) -> list[np.ndarray]:
        found = self.attack_batch(classifier, batch)
        predictions = classifier.predict(found.x_adv)
        success = batch.fooled(predictions)
        x_adv = ops.convert_to_numpy(found.x_adv)
        counts = [found.queries, found.forwards + 1, found.backwards]
        return [x_adv, success, *counts, predictions]

    def _check_target(self, targeted: bool) -> None:
        if targeted and not self.can_target:
            raise ValueError(
                f"{type(self).__name__} cannot aim at a given class. Received: "
                "targeted=True. Use an attack that follows gradients, such as PGD."
            )

    def _checked(self, epsilons: Array, images: int) -> np.ndarray:
        given = np.asarray(backend.to_numpy(epsilons), "float32")
        if given.shape != (images,) or not (np.isfinite(given) & (given >= 0)).all():
            raise ValueError(
                f"`epsilons` must be a finite number >= 0 for each of the {images} "
                f"images. Received: shape {given.shape}, values {given.tolist()[:5]}."
            )
        if not self.epsilon > 0:
            raise ValueError(
                "`epsilons` needs an attack with an epsilon > 0, to which its step "
                f"size belongs. Received: epsilon={self.epsilon!r}."
            )
        return given

    def get_config(self) -> dict:
        """Return the arguments of an equal attack."""
        return self._settings()

    def _settings(self) -> dict[str, Any]:
        """Return the constructor's arguments by name."""
        kept = vars(self).items()
        return {name: value for name, value in kept if not name.startswith("_")}

    def __repr__(self) -> str:
        settings = (f"{name}={value!r}" for name, value in self._settings().items())
        return f"{type(self).__name__}({', '.join(settings)})"

    @classmethod
    def from_config(cls, config: dict) -> Attack:
        """Return the attack whose `get_config` returned `config`."""
        return cls(**config)


@dataclass(frozen=True)
class Selection:
    """A selection of rows of a batch as a smaller batch of a fixed size.

    Attributes:
        rows: int (size,), the original row of each selected one; padding repeats a row.
        active: bool (size,), False for padding.
        home: int (batch,), the new position of each original row; -1 if not selected.
    """

    rows: np.ndarray
    active: np.ndarray
    home: np.ndarray

    @functools.cached_property
    def is_whole(self) -> bool:
        """Whether every row stays where it is."""
        return bool(np.array_equal(self.rows, np.arange(len(self.home))))

    def take(self, values: Array) -> Array:
        """Return the selected rows of a tensor or an array."""
        if self.is_whole:
            return values
        if isinstance(values, np.ndarray):
            return values[self.rows]
        return ops.take(values, self.rows, axis=0)

    def scatter(self, into: Array, values: Array) -> Array:
        """Return `into` (batch, ...) with its selected rows replaced by `values`."""
        if isinstance(into, np.ndarray):
            into = into.copy()
            into[self.rows[self.active]] = values[self.active]
            return into
        if self.is_whole and self.active.all():
            return values
        if not self.is_whole:
            values = ops.take(values, np.maximum(self.home, 0), axis=0)
        kept = (self.home < 0).reshape(-1, *[1] * (len(into.shape) - 1))
        return ops.where(kept, into, values)


def select(active: np.ndarray) -> Selection:
    """Return the rows where `active` (batch,) is True, padded to an allowed size.

    So an attack becomes cheaper as more images are fooled. Most backends compile for
    each size. So the allowed sizes are the batch size and the powers of two below it.
    `backend.size_steps()` adds sizes between two powers.
    """
    rows = np.flatnonzero(active)
    size = _allowed_size(len(rows), len(active), backend.size_steps())
    if size == len(active):  # nothing has to move
        every = np.arange(size)
        return Selection(every, active, np.where(active, every, -1))
    home = np.full(len(active), -1)
    home[rows] = np.arange(len(rows))
    return Selection(*_padded(rows, size), home)


def _allowed_size(count: int, batch: int, steps: int | None) -> int:
    if steps is None:
        return max(1, count)
    least = max(count, -(-batch // 2**HALVINGS))
    power = 1 << (least - 1).bit_length()
    steps = steps if power >= DIVIDED else 1
    sizes = (power * part // (2 * steps) for part in range(steps + 1, 2 * steps + 1))
    return min(batch, next(size for size in sizes if size >= least))


def _padded(rows: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    fill = np.full(size - len(rows), rows[0] if len(rows) else 0)
    return np.concatenate([rows, fill]), np.arange(size) < len(rows)
