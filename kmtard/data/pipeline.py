"""Labeled images, and streams of batches that can be resumed at any step."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import numpy as np

from kmtard.backend import distribution
from kmtard.data import philox
from kmtard.data.augmentation import augment
from kmtard.data.batches import Batch, Batches, Epoch
from kmtard.data.sources import Images, LazyImages, take

MOST_CLASSES = 100_000
"""Largest plausible number of classes. Larger labels in a file are not classes."""


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their labels, in a fixed order.

    Args:
        images: uint8 `(count, height, width, channels)`, or `LazyImages` of that shape.
        labels: int32 or int64 `(count,)`, the classes counted from 0.
        class_names: Names of class 0, 1 and so on; empty if unknown.
        files: The file of each image; empty where the images have none.

    Raises:
        ValueError: A dtype or shape is wrong, there are no images, or a label has no
            name although others have one.

    Example:
        >>> split = Split(np.zeros((6, 8, 8, 1), "uint8"), np.arange(6) % 3)
        >>> [len(part) for part in split.divide(3)]
        [3, 3]
    """

    images: Images
    labels: np.ndarray
    class_names: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check images and labels."""
        images, labels = self.images, self.labels
        if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape:
            raise ValueError(
                "Split expects uint8 images of a non-empty shape (count, height, "
                f"width, channels). Received: {images.dtype} {images.shape}. "
                "Scale images to 0..255 and add a channel axis to gray images."
            )
        if labels.dtype not in (np.int32, np.int64) or labels.shape != images.shape[:1]:
            raise ValueError(
                "Split expects int32 or int64 labels, one for each image, of shape "
                f"{images.shape[:1]}. Received: {labels.dtype} {labels.shape}. "
                "Turn one-hot labels into class numbers."
            )
        if self.class_names and labels.max() >= len(self.class_names):
            raise ValueError(
                "Split expects a name for each class, or none. Received: "
                f"{len(self.class_names)} names, and the label {labels.max()}."
            )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def divide(self, count: int, seed: int = 0) -> tuple[Split, Split]:
        """Divide into `count` images and the rest, both with the same class shares.

        The first part contains every class if `count` is at least the number of
        classes. Both parts keep the order of the images. The same `seed` always gives
        the same parts.

        Args:
            count: Number of images in the first part, from 1 to `len(self) - 1`.
            seed: Decides which images go into the first part.

        Raises:
            ValueError: One of the parts would be empty.
        """
        if not 0 < count < len(self):
            raise ValueError(
                f"Split.divide expects a count from 1 to {len(self) - 1}, so that both "
                f"parts have images. Received: count={count}."
            )
        order = stratified_order(self.labels, seed)
        return self._part(np.sort(order[:count])), self._part(np.sort(order[count:]))

    def _part(self, rows: np.ndarray) -> Split:
        files = tuple(self.files[row] for row in rows.tolist()) if self.files else ()
        images = take(self.images, rows)
        return Split(images, self.labels[rows], self.class_names, files)

    def limit(self, count: int | None) -> Split:
        """Return at most `count` images, with equal class shares.

        Args:
            count: At least 1; None for all images.

        Raises:
            ValueError: `count` is less than 1.
        """
        if count is None or count >= len(self):
            return self
        return self.divide(count)[0]


def stratified_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return the rows of images so that each beginning has the shares of all classes.

    Args:
        labels: int (n,), the classes.
        seed: decides which images of a class come first.
    """
    # NumPy guarantees that the numbers of RandomState never change. Those of Generator
    # may change with a release, and then a run would hold out other images.
    random = np.random.RandomState(seed)
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        rank[members] = np.arange(len(members)) / len(members)
    return np.argsort(rank, kind="stable")


@dataclass(frozen=True, eq=False)
class DataSet:
    """A training and a test split over the same classes.

    Args:
        name: Name of the data set.
        train: Images to train on.
        test: Images to test on, of the same shape.
        num_classes: Number of classes.
        validation: Images to choose the best epoch by; None if there are none of their
            own, so that a part of `train` is held out.
        notes: What was done to read it, for the user, one text each.

    Raises:
        ValueError: There are fewer than 2 classes or too many, the splits have images
            of different shapes, or a label is outside `[0, num_classes)`.
    """

    name: str
    train: Split
    test: Split
    num_classes: int
    validation: Split | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that the splits belong together."""
        if not 2 <= self.num_classes <= MOST_CLASSES:
            raise ValueError(
                f"DataSet {self.name!r} expects 2 to {MOST_CLASSES:,} classes. "
                f"Received: {self.num_classes:,}."
            )
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            raise ValueError(
                f"DataSet {self.name!r} expects train and test images of the same "
                f"shape. Received: train {self.train.images.shape[1:]}, test "
                f"{self.test.images.shape[1:]}."
            )
        own = self.validation
        if own is not None and own.images.shape[1:] != self.train.images.shape[1:]:
            raise ValueError(
                f"DataSet {self.name!r} expects validation images of the shape of the "
                f"training images, {self.train.images.shape[1:]}. Received: "
                f"{own.images.shape[1:]}."
            )
        splits = [self.train, self.test, *([own] if own is not None else [])]
        labels = np.concatenate([each.labels for each in splits])
        if labels.min() < 0 or labels.max() >= self.num_classes:
            raise ValueError(
                f"DataSet {self.name!r} expects labels from 0 to num_classes - 1 = "
                f"{self.num_classes - 1}. Received: {labels.min()} to {labels.max()}."
            )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of class 0, 1 and so on; empty if unknown."""
        return self.test.class_names

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """The shape `(height, width, channels)` of one image."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    def hold_out(self, fraction: float, seed: int = 0) -> tuple[Split, Split | None]:
        """Divide the training split into images to train on and images to select by.

        Args:
            fraction: Share of the images to hold out, in [0, 1).
            seed: Decides which images are held out. It is not the seed of a run: with
                its default, runs with different seeds hold out the same images.

        Returns:
            The images to train on, and the images held out, None if `fraction` is 0. If
            the data set has validation images, these are held out, and all training
            images are to train on.

        Raises:
            ValueError: One of the two parts would be empty.
        """
        if fraction == 0 or self.validation is not None:
            return self.train, self.validation if fraction else None
        count = round(fraction * len(self.train))
        if not 0 < count < len(self.train):
            raise ValueError(
                "DataSet.hold_out expects 0, or a fraction below 1 that leaves images "
                f"in both parts. Received: fraction={fraction} of the "
                f"{len(self.train)} training images of {self.name!r}."
            )
        held_out, train = self.train.divide(count, seed)
        return train, held_out


class TrainingStream:
    """Shuffled, augmented batches that depend only on seed, epoch and step.

    Any batch can be made without the batches before it. So a run that resumes in the
    middle of an epoch gets exactly the images it would have seen: use
    `stream.epoch.assign(7)`, then `stream.dataset(skip=100)`. The batches are the same
    on every backend.

    Args:
        split: The images. They are not copied and must not change.
        batch_size: Images per batch. The last batch of an epoch may have fewer.
        seed: Seed for the order and the augmentation.
        pad: Pixels of zeros added on each side of an image before a random crop of the
            original size; 0 for no crop.
        flip: Whether to mirror each image left to right with probability 0.5.
        class_weights: Weight of each class, `(classes,)`. None: all images count
            equally, and batches have no weights.

    Attributes:
        epoch: The current epoch, counted from 0. Set it with `epoch.assign(number)`.
        steps_per_epoch: Batches per epoch, including a partial last one.

    Raises:
        ValueError: `batch_size` is less than 1 or `pad` is negative.

    Example:
        >>> split = Split(np.zeros((5, 8, 8, 1), "uint8"), np.arange(5))
        >>> stream = TrainingStream(split, batch_size=2, seed=0, pad=1, flip=True)
        >>> [x.shape for x, y in stream.dataset()]
        [(2, 8, 8, 1), (2, 8, 8, 1), (1, 8, 8, 1)]
    """

    def __init__(
        self,
        split: Split,
        *,
        batch_size: int,
        seed: int,
        pad: int = 0,
        flip: bool = False,
        class_weights: np.ndarray | None = None,
    ) -> None:
        _check_batch_size(batch_size)
        if pad < 0:
            raise ValueError(f"TrainingStream expects pad >= 0. Received: pad={pad}.")
        self._images, self._labels = _in_place(split)
        self._batch_size, self._seed = batch_size, seed
        self._pad, self._flip = pad, flip
        self._class_weights = class_weights
        self.steps_per_epoch = math.ceil(len(split) / batch_size)
        self.epoch = Epoch()
        self._lock = threading.Lock()
        self._draws: _Draws | None = None
        # Here, because Keras keeps its distribution per thread.
        self._feed = distribution.feed()

    def dataset(self, skip: int = 0) -> Batches:
        """Return the batches of one epoch, without the first `skip` batches.

        The epoch is the value of `epoch` at the time when they are read. Each batch is
        `(x, y)`, with x float32 `(batch, height, width, channels)` in [0, 1] and y
        int32 `(batch,)`. With `class_weights` it is `(x, y, weight)`, with a float32
        weight `(batch,)`.

        Raises:
            ValueError: `skip` is outside `[0, steps_per_epoch)`.
        """
        if not 0 <= skip < self.steps_per_epoch:
            raise ValueError(
                f"TrainingStream.dataset expects skip from 0 to {self.steps_per_epoch} "
                f"- 1, the last batch of the epoch. Received: skip={skip}."
            )
        return Batches(self._batch, range(skip, self.steps_per_epoch), self.epoch)

    def _batch(self, epoch: int, step: int) -> Batch:
        with self._lock:
            if self._draws is None or self._draws.epoch != epoch:
                self._draws = self._drawn(epoch)
            draws = self._draws
        rows = draws.order[step * self._batch_size :][: self._batch_size]
        count = len(rows)
        part = self._feed.share(count)
        rows = rows[part]
        images = self._images[rows]
        if self._pad or self._flip:
            shifts = draws.shifts[step, : 2 * count].reshape(2, -1)[:, part]
            images = augment(images, shifts, draws.mirrored[step, :count][part])
        labels = self._labels[rows]
        batch = _placed(self._feed, images, labels, count)
        if self._class_weights is None:
            return batch
        return *batch, self._feed.place(self._class_weights[labels], count)

    def _drawn(self, epoch: int) -> _Draws:
        key, steps = np.array([self._seed, epoch]), self.steps_per_epoch
        order = philox.permutation(key, len(self._images))
        folded = philox.integers(key[np.newaxis], 1)[0, 0]
        seeds = np.stack([np.full(steps, folded), np.arange(steps)], axis=1)
        shift_seeds, flip_seeds = np.split(philox.integers(seeds, 4), 2, axis=1)
        shifts = philox.words(shift_seeds, 2 * self._batch_size) % (2 * self._pad + 1)
        # TensorFlow makes a float in [0, 1) from the lower 23 bits of a word. It is
        # less than 1/2 if the highest of them, bit 22, is 0.
        heads = philox.words(flip_seeds, self._batch_size) >> 22 & 1 == 0
        return _Draws(
            epoch, order, shifts.astype(np.int32) - self._pad, heads & self._flip
        )


def balanced_weights(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the weight of each class with which all classes count equally.

    The weights of all images have the mean 1. A class without images has the weight 0.

    Args:
        labels: int (n,), the classes of the training images.
        num_classes: number of classes.

    Returns:
        float32 `(num_classes,)`.

    Example:
        >>> balanced_weights(np.array([0, 0, 0, 1]), 2).round(2)
        array([0.67, 2.  ], dtype=float32)
    """
    counts = np.bincount(labels, minlength=num_classes)
    present = counts > 0
    weights = np.zeros(num_classes, np.float32)
    weights[present] = len(labels) / (present.sum() * counts[present])
    return weights


@dataclass(frozen=True, eq=False)
class _Draws:
    """The random values of an epoch.

    Args:
        epoch: Number of the epoch.
        order: int64 `(count,)`, the numbers of the images in random order.
        shifts: int32 `(steps, 2 * batch_size)`. Each row begins with the shifts down of
            the images in that batch, followed by their shifts to the right.
        mirrored: bool `(steps, batch_size)`.
    """

    epoch: int
    order: np.ndarray
    shifts: np.ndarray
    mirrored: np.ndarray


def evaluation_dataset(
    split: Split, batch_size: int, limit: int | None = None
) -> Batches:
    """Return batches of a split in its order, including a partial last one.

    Args:
        split: The images.
        batch_size: Images per batch.
        limit: Most images to use; None for all. See `Split.limit`.

    Returns:
        Batches `(x, y)` as in `TrainingStream.dataset`.

    Raises:
        ValueError: `batch_size` or `limit` is less than 1.

    Example:
        >>> split = Split(np.zeros((5, 8, 8, 1), "uint8"), np.arange(5))
        >>> [len(y) for x, y in evaluation_dataset(split, 2)]
        [2, 2, 1]
    """
    _check_batch_size(batch_size)
    images, labels = _in_place(split.limit(limit))
    feed = distribution.feed()

    def batch(epoch: int, step: int) -> Batch:
        del epoch
        first = step * batch_size
        count = min(batch_size, len(images) - first)
        part = feed.share(count)
        rows = slice(first + part.start, first + part.stop)
        return _placed(feed, images[rows], labels[rows], count)

    return Batches(batch, range(math.ceil(len(images) / batch_size)))


def _in_place(split: Split) -> tuple[Images, np.ndarray]:
    images = split.images
    if not isinstance(images, LazyImages):
        # As a plain array, because indexing the subclass np.memmap is slower.
        images = np.asarray(images)
    return images, split.labels.astype(np.int32)


def _placed(
    feed: distribution.Feed, images: np.ndarray, labels: np.ndarray, count: int
) -> Batch:
    """Return a batch of `count` images, of which this process has read its share."""
    return feed.place(_unit_range(images), count), feed.place(labels, count)


def _unit_range(images: np.ndarray) -> np.ndarray:
    # A crop is not in C order, and the backends would have to copy it.
    scaled = np.empty(images.shape, np.float32)
    return np.divide(images, np.float32(255), out=scaled, dtype=np.float32)


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"Expected batch_size >= 1. Received: {batch_size=}.")
