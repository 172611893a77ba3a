"""Tests of kmtard.data.pipeline."""

from __future__ import annotations

import json
import threading
import zlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kmtard.backend import distribution
from kmtard.data import philox
from kmtard.data.batches import Batch, Batches
from kmtard.data.pipeline import DataSet, Split, TrainingStream, evaluation_dataset
from kmtard.data.sources import LazyImages

SIZE = 6


def numbered(count: int, classes: int = 4) -> Split:
    """Images of random pixels, number `i` with label `i % classes`."""
    shape = (count, SIZE, SIZE, 3)
    images = np.random.RandomState(0).randint(1, 256, shape).astype(np.uint8)
    return Split(images, np.arange(count) % classes)


def marked(count: int) -> Split:
    """Random images whose labels are their own numbers."""
    return numbered(count, classes=count)


def stream(split: Split, **arguments: Any) -> TrainingStream:
    return TrainingStream(split, **({"batch_size": 8, "seed": 3} | arguments))


def batches(dataset: Batches) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(dataset)


def same(first: list[Any], second: list[Any]) -> bool:
    return len(first) == len(second) and all(
        np.array_equal(x, u) and np.array_equal(y, v)
        for (x, y), (u, v) in zip(first, second, strict=True)
    )


def labels(dataset: Batches) -> list[int]:
    return np.concatenate([y for _, y in batches(dataset)]).tolist()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 4, 4, 1), np.float32), "uint8 images.*float32"),
        (np.zeros((2, 4, 4), np.uint8), r"channel.*\(2, 4, 4\)"),
        (np.zeros((0, 4, 4, 1), np.uint8), r"non-empty.*\(0, 4, 4, 1\)"),
    ],
)
def test_split_refuses_images(images: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Split(images, np.zeros(len(images), np.int32))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros(2, np.float32), "int32 or int64 labels.*float32"),
        (np.zeros(3, np.int32), r"shape \(2,\).*\(3,\)"),
        (np.zeros((2, 10), np.int32), r"\(2, 10\).*one-hot"),
    ],
)
def test_split_refuses_labels(given: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Split(np.zeros((2, 4, 4, 1), np.uint8), given)


def test_divide_is_stratified_and_complete() -> None:
    first, rest = numbered(40).divide(12, seed=5)
    assert np.bincount(first.labels).tolist() == [3, 3, 3, 3]
    first, rest = marked(40).divide(12, seed=5)
    assert sorted([*first.labels, *rest.labels]) == list(range(40))
    assert first.labels.tolist() == sorted(first.labels)


def test_divide_keeps_images_with_their_labels() -> None:
    split = marked(40)
    for part in split.divide(12):
        assert np.array_equal(part.images, split.images[part.labels])


def test_divide_depends_on_its_seed_alone() -> None:
    def first(seed: int) -> list[int]:
        images = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1)
        return Split(images, np.arange(40) % 4).divide(12, seed)[0].images.tolist()

    assert first(1) == first(1) != first(2)


@pytest.mark.parametrize("count", [0, 40, -1])
def test_divide_refuses_an_empty_part(count: int) -> None:
    with pytest.raises(ValueError, match=f"from 1 to 39.*count={count}"):
        numbered(40).divide(count)


def test_limit() -> None:
    rare = Split(np.zeros((50, 2, 2, 1), np.uint8), np.arange(50) // 49)
    assert sorted(rare.limit(2).labels) == [0, 1]
    assert rare.limit(None) is rare
    assert rare.limit(1000) is rare
    with pytest.raises(ValueError, match="count=0"):
        rare.limit(0)


def test_data_set_holds_out_the_same_share_each_time() -> None:
    data = DataSet("numbers", numbered(40), numbered(8), num_classes=4)
    train, held_out = data.hold_out(0.2)
    assert data.input_shape == (SIZE, SIZE, 3)
    assert (len(train), len(held_out)) == (32, 8)
    assert np.bincount(held_out.labels).tolist() == [2, 2, 2, 2]
    assert np.array_equal(held_out.images, data.hold_out(0.2)[1].images)


@pytest.mark.parametrize("fraction", [1.0, -0.5, 1e-9])
def test_data_set_refuses_a_fraction(fraction: float) -> None:
    data = DataSet("numbers", numbered(40), numbered(8), num_classes=4)
    with pytest.raises(ValueError, match=f"fraction={fraction}.*40.*'numbers'"):
        data.hold_out(fraction)


def test_nothing_is_held_out_of_a_data_set() -> None:
    data = DataSet("numbers", numbered(40), numbered(8), num_classes=4)
    train, held_out = data.hold_out(0)
    assert train is data.train
    assert held_out is None


def test_data_set_refuses_splits_that_do_not_belong_together() -> None:
    other = Split(np.zeros((4, 2, 2, 3), np.uint8), np.zeros(4, np.int32))
    with pytest.raises(ValueError, match="images of the same shape.*test"):
        DataSet("numbers", numbered(8), other, num_classes=4)
    with pytest.raises(ValueError, match="num_classes - 1 = 2.*Received: 0 to 3"):
        DataSet("numbers", numbered(8), numbered(8), num_classes=3)


def test_stream_shows_every_image_once_in_each_epoch() -> None:
    split = marked(21)
    training = stream(split)
    for epoch in range(3):
        training.epoch.assign(epoch)
        seen = batches(training.dataset())
        assert [len(y) for _, y in seen] == [8, 8, 5]
        x, y = (np.concatenate(part) for part in zip(*seen, strict=True))
        assert sorted(y) == list(range(21))
        assert np.array_equal(x, split.images[y].astype(np.float32) / 255)


def resident() -> int:
    """Bytes of memory that belong to this process alone."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("RssAnon:")[2].split()[0])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_batches_are_made_without_a_copy_of_the_images() -> None:
    size = 2**28
    images = np.ones((size // 2**16, 256, 256, 1), np.uint8)
    part, _ = Split(images, np.arange(len(images)) % 4).divide(len(images) - 4)
    before = resident()
    for dataset in (stream(part).dataset(), evaluation_dataset(part, 8)):
        assert next(iter(dataset))[0].all()
    assert resident() - before < size / 2


def test_stream_has_types_and_a_length() -> None:
    training = stream(marked(21), pad=1, flip=True)
    images, classes = training.dataset()[0]
    assert (images.shape, images.dtype) == ((8, SIZE, SIZE, 3), np.float32)
    assert (classes.shape, classes.dtype) == ((8,), np.int32)
    assert images.flags.c_contiguous
    assert training.steps_per_epoch == 3
    assert len(training.dataset()) == 3
    assert len(training.dataset(skip=2)) == 1


GOLDEN = json.loads(Path(__file__).with_name("stream.json").read_text())


@pytest.mark.parametrize("published", GOLDEN["batches"], ids=lambda g: str(g["seed"]))
def test_batches_are_those_of_the_first_version(published: dict[str, Any]) -> None:
    """Version 0.1 drew them with TensorFlow. Its stopped runs continue bit for bit."""
    first, pixel = 37 * np.arange(11).reshape(11, 1), np.arange(20)
    images = ((first + pixel) % 255 + 1).astype(np.uint8).reshape(11, 5, 4, 1)
    training = TrainingStream(
        Split(images, np.arange(11)),
        batch_size=4,
        seed=published["seed"],
        pad=2,
        flip=True,
    )
    training.epoch.assign(published["epoch"])
    x, y = training.dataset()[published["step"]]
    assert y.tolist() == published["labels"]
    pixels = np.frombuffer(bytes.fromhex(published["pixels"]), np.uint8)
    assert np.array_equal(x.ravel(), pixels.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("published", GOLDEN["orders"], ids=lambda g: str(g["count"]))
def test_orders_are_those_of_the_first_version(published: dict[str, Any]) -> None:
    count = published["count"]
    split = Split(np.zeros((count, 1, 1, 1), np.uint8), np.arange(count))
    training = stream(split, batch_size=1000, seed=published["seed"])
    training.epoch.assign(published["epoch"])
    order = np.array(labels(training.dataset()), "<i8")
    assert order[:8].tolist() == published["first"]
    assert zlib.crc32(order.tobytes()) == published["crc32"]


def test_one_dataset_follows_the_epoch_variable() -> None:
    training = stream(marked(21), pad=1, flip=True)
    dataset = training.dataset()
    first = batches(dataset)
    training.epoch.assign(1)
    assert labels(dataset) != np.concatenate([y for _, y in first]).tolist()
    training.epoch.assign(0)
    assert same(batches(dataset), first)


def linear() -> keras.Model:
    layers = [keras.layers.Flatten(), keras.layers.Dense(1, "linear", False, "ones")]
    model = keras.Sequential([keras.Input((SIZE, SIZE, 3)), *layers])
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    return model


# Without and with a first epoch that a stop had cut short.
@pytest.mark.parametrize("spans", [[(0, 2, 0)], [(2, 3, 1), (3, 5, 0)]], ids=str)
def test_keras_fit_shows_each_epoch_in_its_own_order(
    spans: list[tuple[int, int, int]],
) -> None:
    training, held_out = stream(numbered(21)), evaluation_dataset(numbered(9), 4)
    fitted, stepped = linear(), linear()
    ends: list[int] = []
    follow = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: training.epoch.assign(epoch),
        on_train_batch_end=lambda batch, logs: ends.append(batch),
    )
    expected: list[int] = []
    for begin, end, skip in spans:
        with training.dataset(skip) as batched, held_out:
            fitted.fit(
                batched,
                initial_epoch=begin,
                epochs=end,
                validation_data=held_out,
                shuffle=False,
                callbacks=[follow],
                verbose=0,
            )
        for epoch in range(begin, end):
            training.epoch.assign(epoch)
            for step, (x, y) in enumerate(batches(training.dataset(skip))):
                stepped.train_on_batch(x, y)
                expected.append(step)
    assert ends == expected
    weights = [model.get_weights()[0] for model in (fitted, stepped)]
    np.testing.assert_allclose(*weights, rtol=1e-6, atol=1e-6)
    assert not [t for t in threading.enumerate() if t.name.startswith("kmtard-data")]


@pytest.mark.parametrize("skip", [1, 2])
def test_skip_leaves_the_tail_of_the_epoch(skip: int) -> None:
    training = stream(marked(21), pad=1, flip=True)
    training.epoch.assign(4)
    assert same(batches(training.dataset(skip)), batches(training.dataset())[skip:])


def test_stream_is_a_function_of_its_seed() -> None:
    def epoch(seed: int) -> list[Any]:
        return batches(stream(marked(21), seed=seed, pad=1, flip=True).dataset())

    assert same(epoch(3), epoch(3))
    assert not same(epoch(3), epoch(4))


def variants(image: np.ndarray, pad: int) -> dict[bytes, tuple[int, int, bool]]:
    """Every crop of the padded image and its mirror image, by their bytes."""
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    crops = {
        (down, right): padded[down : down + SIZE, right : right + SIZE]
        for down in range(2 * pad + 1)
        for right in range(2 * pad + 1)
    }
    return {
        (crop[:, ::-1] if flip else crop).tobytes(): (*place, flip)
        for place, crop in crops.items()
        for flip in (False, True)
    }


def test_augmentation_shifts_and_flips_evenly() -> None:
    split = marked(1800)
    seen = []
    for x, y in batches(stream(split, batch_size=64, pad=1, flip=True).dataset()):
        pixels = np.round(x * 255).astype(np.uint8)
        for image, number in zip(pixels, y, strict=True):
            seen.append(variants(split.images[number], 1)[image.tobytes()])
    down, right, flip = np.array(seen).T
    counts = np.bincount(6 * down + 2 * right + flip, minlength=18)
    # About 100 images for each of 9 shifts, mirrored or not, within 5 sigma.
    assert np.abs(counts - 100).max() < 49


def test_each_augmentation_works_alone() -> None:
    split = marked(64)
    for x, y in batches(stream(split, flip=True).dataset()):
        for image, source in zip(x, split.images[y] / np.float32(255), strict=True):
            mirrored = np.array_equal(image, source[:, ::-1])
            assert mirrored or np.array_equal(image, source)
    for x, y in batches(stream(split, pad=2).dataset()):
        for image, number in zip(np.round(x * 255).astype(np.uint8), y, strict=True):
            assert not variants(split.images[number], 2)[image.tobytes()][2]


def test_tensorflow_draws_the_same() -> None:
    """The stream is that of `tf.random`, which defined it; see `philox`."""
    tf = pytest.importorskip("tensorflow")
    for seed in ([3, 7], [-1, 2**40]):
        key = tf.constant(seed, tf.int64)
        order = tf.random.experimental.stateless_shuffle(tf.range(1000), seed=key)
        assert np.array_equal(philox.permutation(np.array(seed), 1000), order)
        folded = tf.random.fold_in(key, tf.constant(5, tf.int64))
        assert philox.integers(np.array([seed]), 1)[0, 0] == folded[0]
        shift_key, flip_key = tf.unstack(tf.random.split(folded))
        drawn = philox.integers(folded.numpy()[np.newaxis], 4)[0]
        assert drawn.tolist() == [*shift_key.numpy(), *flip_key.numpy()]
        shifts = tf.random.stateless_uniform([9], shift_key, 0, 5, tf.int32)
        ours = philox.words(shift_key.numpy()[np.newaxis], 9)[0] % 5
        assert np.array_equal(ours, shifts)


def test_augmentation_differs_between_epochs_and_steps() -> None:
    same_image = np.random.RandomState(0).randint(0, 256, (1, SIZE, SIZE, 3))
    images = np.repeat(same_image, 32, axis=0).astype(np.uint8)
    training = stream(Split(images, np.arange(32)), pad=2, flip=True)
    seen = []
    for epoch in range(2):
        training.epoch.assign(epoch)
        seen += [x.tobytes() for x, _ in batches(training.dataset())]
    assert len(set(seen)) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"batch_size": 0}, "batch_size=0"), ({"pad": -1}, "pad=-1")],
)
def test_stream_refuses_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stream(marked(8), **arguments)


@pytest.mark.parametrize("skip", [-1, 3])
def test_stream_refuses_a_skip_outside_the_epoch(skip: int) -> None:
    with pytest.raises(ValueError, match=f"skip={skip}"):
        stream(marked(21)).dataset(skip)


class Numbers:
    """Reads images whose pixels are all their own number."""

    shape = (21, SIZE, SIZE, 3)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        images[:] = rows.reshape(-1, 1, 1, 1)
        return images


def test_lazy_images_are_streamed_as_those_in_memory() -> None:
    lazy = Split(LazyImages(Numbers()), np.arange(21) % 3)
    read = Split(np.asarray(lazy.images), lazy.labels)
    for whole, other in ((lazy, read), (lazy.divide(12)[1], read.divide(12)[1])):
        assert isinstance(whole.images, LazyImages)
        pair = [stream(split, pad=1, flip=True) for split in (whole, other)]
        assert same(*(batches(training.dataset(1)) for training in pair))
        pair = [evaluation_dataset(split, 4, limit=5) for split in (whole, other)]
        assert same(*map(batches, pair))


def test_a_part_of_a_mapped_file_is_not_read(tmp_path: Path) -> None:
    images = np.memmap(tmp_path / "images", np.uint8, mode="w+", shape=(12, 2, 2, 1))
    images[:] = np.arange(12).reshape(-1, 1, 1, 1)
    split, _ = Split(images, np.arange(12) % 2).divide(6)
    assert isinstance(split.images, LazyImages)
    images[:] += 100
    [(x, y)] = evaluation_dataset(split, 6)
    assert np.array_equal(np.rint(x[:, 0, 0, 0] * 255) % 2, y)
    assert (x * 255 > 99).all()


def test_evaluation_keeps_the_order() -> None:
    split = marked(21)
    seen = batches(evaluation_dataset(split, 8))
    assert [x.shape for x, _ in seen] == [(n, SIZE, SIZE, 3) for n in (8, 8, 5)]
    assert np.concatenate([y for _, y in seen]).tolist() == list(range(21))
    x = np.concatenate([x for x, _ in seen])
    assert x.dtype == np.float32
    assert np.array_equal(x, split.images.astype(np.float32) / 255)


def test_evaluation_limit_keeps_every_class() -> None:
    dataset = evaluation_dataset(numbered(40), 8, limit=12)
    assert len(dataset) == 2
    assert np.bincount(labels(dataset)).tolist() == [3, 3, 3, 3]


def test_evaluation_refuses_an_empty_batch() -> None:
    with pytest.raises(ValueError, match="batch_size=0"):
        evaluation_dataset(marked(8), 0)


class Half:
    """What one of two processes gets: its rows, and no device to put them on."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.counts: list[int] = []

    def share(self, count: int) -> slice:
        half = count // 2
        if count % 2:  # the devices cannot share it equally
            return slice(0, count)
        return slice(self.number * half, (self.number + 1) * half)

    def place(self, part: np.ndarray, count: int) -> np.ndarray:
        self.counts.append(count)
        return part


def test_processes_read_their_shares_of_the_same_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (11, 6, 6, 1), np.uint8)
    split = Split(images, np.arange(11))

    def batches(number: int | None) -> list[list[Batch]]:
        if number is not None:
            monkeypatch.setattr(distribution, "feed", lambda: Half(number))
        stream = TrainingStream(split, batch_size=4, seed=1, pad=1, flip=True)
        return [list(stream.dataset()), list(evaluation_dataset(split, 4))]

    whole, *halves = (batches(number) for number in (None, 0, 1))
    for all_rows, first, second in zip(whole, *halves, strict=True):
        assert [len(y) for _, y in first] == [2, 2, 3]
        for step in range(2):
            for part in range(2):
                shared = np.concatenate([first[step][part], second[step][part]])
                np.testing.assert_array_equal(shared, all_rows[step][part])
        for given in (first, second):
            np.testing.assert_array_equal(given[2][0], all_rows[2][0])
