"""Labelled images in memory, and streams of batches that any step can resume."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from kmtard.data.augmentation import augment
from kmtard.data.memory import as_tensor, take


def _leave_gpus_to_the_training_backend() -> None:
    """Hide GPUs from TensorFlow where it only feeds another backend."""
    if keras.config.backend() != "tensorflow":
        # TensorFlow refuses once it has started: its devices were chosen already.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")


# On import, since reading a data set from disk may be what starts TensorFlow.
_leave_gpus_to_the_training_backend()


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their labels, in a fixed order.

    Args:
        images: uint8 `(count, height, width, channels)`.
        labels: int32 or int64 `(count,)`, the classes counted from 0.

    Raises:
        ValueError: A dtype or shape differs from these, or there is no image.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        """Check what the constructor was given."""
        images, labels = self.images, self.labels
        if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape:
            raise ValueError(
                "Split expects uint8 images of a non-empty shape (count, height, "
                f"width, channels). Received: {images.dtype} {images.shape}. "
                "Scale images to 0..255 and add a channel axis to grey ones."
            )
        if labels.dtype not in (np.int32, np.int64) or labels.shape != images.shape[:1]:
            raise ValueError(
                "Split expects int32 or int64 labels, one for each image, of shape "
                f"{images.shape[:1]}. Received: {labels.dtype} {labels.shape}. "
                "Turn one-hot labels into class numbers."
            )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def divide(self, count: int, seed: int = 0) -> tuple[Split, Split]:
        """Divide into `count` images and the rest, each with every class's share.

        Shares of the first part are rounded up rather than down, so that it holds every
        class once `count` reaches their number. Both parts keep the order of the
        images, and the same `seed` always gives the same parts.

        Raises:
            ValueError: `count` leaves one of the parts empty.
        """
        if not 0 < count < len(self):
            raise ValueError(
                f"Split.divide expects a count from 1 to {len(self) - 1}, so that both "
                f"parts hold images. Received: count={count}."
            )
        order = _stratified_order(self.labels, seed)
        indices = np.sort(order[:count]), np.sort(order[count:])
        first, rest = (Split(take(self.images, i), self.labels[i]) for i in indices)
        return first, rest

    def limit(self, count: int | None) -> Split:
        """Return at most `count` >= 1 images, each class with its share; None: all."""
        if count is None or count >= len(self):
            return self
        return self.divide(count)[0]


def _stratified_order(labels: np.ndarray, seed: int) -> np.ndarray:
    # RandomState, since NumPy promises its stream for ever; that of Generator may
    # change with a release, and with it which images a run holds out.
    random = np.random.RandomState(seed)
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        rank[members] = np.arange(len(members)) / len(members)
    return np.argsort(rank, kind="stable")


@dataclass(frozen=True, eq=False)
class DataSet:
    """A training and a test split over the same classes.

    Raises:
        ValueError: The splits' image shapes differ, or a label is outside
            `[0, num_classes)`.
    """

    name: str
    train: Split
    test: Split
    num_classes: int

    def __post_init__(self) -> None:
        """Check that the splits belong together."""
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            raise ValueError(
                f"DataSet {self.name!r} expects images of one shape. Received: train "
                f"{self.train.images.shape[1:]}, test {self.test.images.shape[1:]}."
            )
        labels = np.concatenate([self.train.labels, self.test.labels])
        if labels.min() < 0 or labels.max() >= self.num_classes:
            raise ValueError(
                f"DataSet {self.name!r} expects labels from 0 to num_classes - 1 = "
                f"{self.num_classes - 1}. Received: {labels.min()} to {labels.max()}."
            )

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """The shape `(height, width, channels)` of one image."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    def hold_out(self, fraction: float, seed: int = 0) -> tuple[Split, Split | None]:
        """Divide the training split into one to train on and one to choose models by.

        `seed` belongs to the data, not to a run: leave it, and runs of every seed hold
        out the same `fraction`, in [0, 1), of the images.

        Returns:
            The images that stay, and those held out; None where `fraction` is 0.

        Raises:
            ValueError: `fraction` leaves one of the two empty.
        """
        if fraction == 0:
            return self.train, None
        count = round(fraction * len(self.train))
        if not 0 < count < len(self.train):
            raise ValueError(
                "DataSet.hold_out expects 0, or a fraction below 1 that leaves images "
                f"on both sides. Received: fraction={fraction} of the "
                f"{len(self.train)} training images of {self.name!r}."
            )
        held_out, train = self.train.divide(count, seed)
        return train, held_out


class TrainingStream:
    """Shuffled, augmented batches that are a function of (seed, epoch, step) alone.

    Any batch can be made again without those before it, so a run resumes in
    mid-epoch with exactly the images it would have seen: `stream.epoch.assign(7)`,
    then `stream.dataset(skip=100)`.

    Args:
        split: The images; they stay where they are, as uint8, and must not change.
        batch_size: Images in a batch; the last one of an epoch may hold fewer.
        seed: Keys the order and the augmentation.
        pad: Zero pixels put around an image before a crop of its own size is taken
            at random; 0 for no crop.
        flip: Whether to mirror each image left to right with probability 1/2.

    Attributes:
        epoch: int64 variable with the epoch to stream, counted from 0.
        steps_per_epoch: Batches in an epoch, a partial last one included.

    Raises:
        ValueError: `batch_size` is less than 1 or `pad` is negative.
    """

    def __init__(
        self,
        split: Split,
        *,
        batch_size: int,
        seed: int,
        pad: int = 0,
        flip: bool = False,
    ) -> None:
        """Hold the images."""
        _check_batch_size(batch_size)
        if pad < 0:
            raise ValueError(f"TrainingStream expects pad >= 0. Received: pad={pad}.")
        self._batch_size, self._seed = batch_size, seed
        self._pad, self._flip = pad, flip
        self.steps_per_epoch = math.ceil(len(split) / batch_size)
        # tf.data runs on the CPU: a capture on the GPU would be copied back.
        with tf.device("CPU:0"):
            self._images = as_tensor(split.images)
            self._labels = tf.constant(split.labels, tf.int32)
            self.epoch = tf.Variable(0, dtype=tf.int64, trainable=False)

    def dataset(self, skip: int = 0) -> tf.data.Dataset:
        """Return the batches of one epoch, without its first `skip` ones.

        Each iteration streams the epoch that `epoch` holds when it starts. The
        elements are `(x, y)`: x float32 `(batch, height, width, channels)` in [0, 1],
        y int32 `(batch,)`.

        Raises:
            ValueError: `skip` is outside `[0, steps_per_epoch)`.
        """
        if not 0 <= skip < self.steps_per_epoch:
            raise ValueError(
                f"TrainingStream.dataset expects skip from 0 to {self.steps_per_epoch} "
                f"- 1, the last batch of the epoch. Received: skip={skip}."
            )
        indices = tf.data.Dataset.range(1).flat_map(lambda _: self._indices(skip))
        batches = indices.map(self._batch, num_parallel_calls=tf.data.AUTOTUNE)
        count = tf.data.experimental.assert_cardinality(self.steps_per_epoch - skip)
        return _prefetched(batches.apply(count))

    def _indices(self, skip: int) -> tf.data.Dataset:
        key = tf.stack([tf.constant(self._seed, tf.int64), self.epoch.read_value()])
        order = tf.random.experimental.stateless_shuffle(
            tf.range(len(self._images)), seed=key
        )

        def step_indices(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            start = step * self._batch_size
            batch_key = tf.random.fold_in(key, step)
            return batch_key, order[start : start + self._batch_size]

        return tf.data.Dataset.range(skip, self.steps_per_epoch).map(step_indices)

    def _batch(self, key: tf.Tensor, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = tf.gather(self._images, indices)
        if self._pad or self._flip:
            images = augment(images, key, self._pad, self._flip)
        return _unit_range(images), tf.gather(self._labels, indices)


def evaluation_dataset(
    split: Split, batch_size: int, limit: int | None = None
) -> tf.data.Dataset:
    """Return batches of a split in its order, the partial last one included.

    Args:
        split: The images.
        batch_size: Images in a batch.
        limit: Passed to `Split.limit`.

    Returns:
        Elements `(x, y)` as those of `TrainingStream.dataset`.

    Raises:
        ValueError: `batch_size` or `limit` is less than 1.
    """
    _check_batch_size(batch_size)
    part = split.limit(limit)
    with tf.device("CPU:0"):
        arrays = as_tensor(part.images), tf.constant(part.labels, tf.int32)
    batches = tf.data.Dataset.from_tensor_slices(arrays).batch(batch_size)
    scaled = batches.map(
        lambda images, labels: (_unit_range(images), labels),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return _prefetched(scaled)


def _prefetched(batches: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    # To rewrite the graph, TensorFlow would first copy all the images into it.
    options.experimental_optimization.apply_default_optimizations = False
    return batches.prefetch(tf.data.AUTOTUNE).with_options(options)


def _unit_range(images: tf.Tensor) -> tf.Tensor:
    return tf.cast(images, tf.float32) / 255


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"Expected batch_size >= 1. Received: {batch_size=}.")
