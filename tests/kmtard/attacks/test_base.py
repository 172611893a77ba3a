"""Properties of `Attack.run` for any attack, model, array and batch."""

from __future__ import annotations

import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard import backend
from kmtard.attacks.base import Attack, Found, select
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.gradient import PGD, fgsm

SHAPE = (6, 5, 3)
KINDS = {
    "numpy": np.asarray,
    "jax": lambda a: pytest.importorskip("jax.numpy").asarray(a),
    "tensorflow": lambda a: pytest.importorskip("tensorflow").constant(a),
    "torch": lambda a: pytest.importorskip("torch").tensor(a),
}
ATTACK = PGD(0.1, step_size=0.05, steps=2, start="uniform_clipped", restarts=2)


class Sizes(Attack):
    """Writes down the batches, adds each image's noise, and counts its number."""

    epsilon = 1.0

    def __init__(self):
        self.seen = []

    def attack_batch(self, classifier, batch):
        self.seen.append((tuple(batch.x.shape), batch.active.tolist()))
        x_adv = ops.convert_to_tensor(batch.noise.uniform(batch.x.shape[1:], "sizes"))
        numbers = batch.noise.indices
        return Found(x_adv, numbers, 2 * numbers, 3 * numbers)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    head = [layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(4)]
    return keras.Sequential([layers.Input(SHAPE), *head])


@pytest.fixture
def images():
    return np.random.default_rng(4).random((7, *SHAPE), "float32")


@pytest.fixture
def labels():
    return np.arange(7) % 4


def test_batches_have_one_size(model, images, labels):
    attack = Sizes()
    result = attack.run(model, images, labels, batch_size=3)
    full = ((3, *SHAPE), [True] * 3)
    assert attack.seen == [full, full, ((3, *SHAPE), [True, False, False])]
    np.testing.assert_array_equal(result.queries, np.arange(7))
    np.testing.assert_array_equal(result.forwards, 2 * np.arange(7) + 1)
    np.testing.assert_array_equal(result.backwards, 3 * np.arange(7))
    logits = ops.convert_to_numpy(model(result.x_adv))
    np.testing.assert_array_equal(result.predictions, logits.argmax(axis=1))
    np.testing.assert_array_equal(result.success, result.predictions != labels)


@pytest.mark.parametrize("count, size", [(1, 1), (2, 2), (5, 8), (7, 8)])
def test_few_images_fill_a_power_of_two(count, size, model, images, labels):
    attack = Sizes()
    attack.run(model, images[:count], labels[:count])
    assert [shape[0] for shape, _ in attack.seen] == [size]


def test_many_images_come_in_batches_of_256(model):
    attack, x = Sizes(), np.zeros((300, *SHAPE), "float32")
    result = attack.run(model, x, np.zeros(300, int))
    assert [shape[0] for shape, _ in attack.seen] == [256, 256]
    assert len(result.x_adv) == len(result.success) == 300


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_come_back_in_their_kind(kind, model, images, labels):
    if kind != "numpy" and kind not in sys.modules:
        pytest.importorskip(kind)
    make = KINDS[kind]
    wanted = fgsm(epsilon=0.1)(model, images, labels)
    x_adv = fgsm(epsilon=0.1)(model, make(images), make(labels))
    assert type(x_adv) is type(make(images))
    assert np.asarray(x_adv).dtype == "float32"
    np.testing.assert_allclose(np.asarray(x_adv), wanted, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_images_become_float32(dtype, model, images, labels):
    x_adv = fgsm(epsilon=0.1)(model, images.astype(dtype), labels)
    assert x_adv.dtype == "float32"


def test_bfloat16_images_become_float32(model, images, labels):
    half = ops.cast(images, "bfloat16")
    result = ATTACK.run(model, half, labels)
    exact = ops.convert_to_numpy(ops.cast(half, "float32"))
    wanted = ATTACK(model, exact, labels)
    assert keras.backend.standardize_dtype(result.x_adv.dtype) == "float32"
    np.testing.assert_array_equal(ops.convert_to_numpy(result.x_adv), wanted)
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
        ATTACK.run(model, half + 1, labels)


def test_rows_that_are_not_active_stay(model, images, labels):
    class Half(PGD):
        def attack_batch(self, classifier, batch):
            active = batch.active & (np.arange(len(batch.active)) % 2 == 0)
            return super().attack_batch(classifier, replace(batch, active=active))

    result = Half(0.1, step_size=0.05, steps=2, restarts=2).run(model, images, labels)
    changed = (result.x_adv != images).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(changed, np.arange(7) % 2 == 0)
    np.testing.assert_array_equal(result.backwards > 0, changed)
    np.testing.assert_array_equal(result.forwards[~changed], 1)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_networks_are_attacked_in_float32(policy, model, images, labels):
    half = keras.Sequential(
        [
            layers.Input(SHAPE),
            layers.Conv2D(4, 3, activation="relu", dtype=policy),
            layers.Flatten(dtype=policy),
            layers.Dense(4, dtype=policy),
        ]
    )
    half.set_weights(model.get_weights())
    attack = PGD(0.1, step_size=0.03, steps=4, start="clean")
    x_adv = attack(half, images, labels)
    assert x_adv.dtype == "float32"
    wanted = attack(model, images, labels)
    assert np.mean(np.abs(x_adv - wanted) < 1e-6) > 0.9


def test_channels_may_come_first(images, labels):
    def net(shape, data_format):
        pool = layers.GlobalAveragePooling2D(data_format=data_format)
        return keras.Sequential([layers.Input(shape), pool, layers.Dense(4)])

    last, first = net(SHAPE, "channels_last"), net((3, 6, 5), "channels_first")
    first.set_weights(last.get_weights())
    attack = PGD(0.1, step_size=0.05, steps=2, start="clean")
    x_adv = attack(first, images.transpose(0, 3, 1, 2), labels)
    wanted = attack(last, images, labels)
    np.testing.assert_allclose(x_adv.transpose(0, 2, 3, 1), wanted, atol=1e-6)


def test_softmax_network_is_attacked_like_its_logits(model, images, labels):
    softmax = keras.Sequential([model, layers.Activation("softmax")])
    with pytest.warns(UserWarning, match="softmax, is skipped"):
        x_adv = ATTACK(softmax, images, labels)
    np.testing.assert_allclose(x_adv, ATTACK(model, images, labels), atol=1e-6)


def test_subclassed_network_that_was_never_called(model, images, labels):
    class Wrapped(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = model

        def call(self, x):
            return ops.softmax(self.inner(x))

    with pytest.warns(UserWarning, match="logarithm"):
        x_adv = ATTACK(Wrapped(), images, labels)
    np.testing.assert_allclose(x_adv, ATTACK(model, images, labels), atol=1e-6)


def test_sequential_network_that_was_never_called(model, images, labels):
    sizes = layers.Flatten(), layers.Dense(4, "softmax")
    unbuilt = keras.Sequential(sizes)
    with pytest.warns(UserWarning, match="softmax, is skipped"):
        x_adv = ATTACK(unbuilt, images, labels)
    assert unbuilt.built and (x_adv != images).any()


def test_classifier_may_stand_for_its_model(model, images, labels):
    x_adv = ATTACK(Classifier(model), images, labels)
    np.testing.assert_allclose(x_adv, ATTACK(model, images, labels), atol=1e-6)


def test_nan_in_the_logits_is_an_error(model, images, labels):
    broken = keras.models.clone_model(model)
    broken.layers[-1].bias.assign([0, np.nan, 0, 0])
    with pytest.raises(ValueError, match="logits.*finite.*Fix"):
        fgsm()(broken, images, labels)


@pytest.mark.parametrize("indices", [np.arange(3), -np.arange(7), np.ones(7)])
def test_bad_indices(indices, model, images, labels):
    with pytest.raises(ValueError, match="indices"):
        ATTACK.run(model, images, labels, indices=indices)


def test_bad_batch_size(model, images, labels):
    with pytest.raises(ValueError, match="batch_size.*>= 1.*0"):
        ATTACK.run(model, images, labels, batch_size=0)


def test_no_images_are_refused(model, images, labels):
    with pytest.raises(ValueError, match="N >= 1.*0, 6, 5, 3"):
        ATTACK(model, images[:0], labels[:0])


@pytest.mark.parametrize(
    "batch, active, size",
    [(16, 16, 16), (16, 9, 16), (16, 8, 8), (16, 3, 4), (16, 1, 1), (16, 0, 1)]
    + [(10, 9, 10), (10, 8, 8), (10, 3, 4), (10, 1, 1), (256, 1, 16), (1, 1, 1)],
)
def test_selection_has_one_of_few_sizes(batch, active, size):
    rows = np.random.default_rng(0).permutation(batch) < active
    part = select(rows)
    if keras.backend.backend() == "torch":
        size = max(1, active)  # nothing is compiled
    assert len(part.rows) == len(part.active) == size
    np.testing.assert_array_equal(part.rows[part.active], np.flatnonzero(rows))


@pytest.mark.parametrize(
    ("steps", "sizes"),
    [(1, {16, 32, 64, 100}), (4, {16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 100})],
)
def test_sizes_of_selections_of_selections_are_the_same(steps, sizes, monkeypatch):
    """So that shrinking step by step does not compile for more and more sizes."""
    monkeypatch.setattr(backend, "size_steps", lambda: steps)

    def found(batch):
        return {len(select(np.arange(batch) < n).rows) for n in range(7, batch + 1)}

    assert {size for size in found(100) if size >= 16} == sizes
    assert {size for each in sizes for size in found(each) if size >= 16} == sizes


@pytest.mark.parametrize("shape", [(10,), (10, 2, 3)])
@pytest.mark.parametrize("tensors", [False, True], ids=["numpy", "tensor"])
def test_what_is_taken_is_put_back(shape, tensors):
    values = np.random.default_rng(0).random(shape)
    rows = np.isin(np.arange(10), [2, 3, 7])
    part = select(rows)
    made = ops.convert_to_tensor(values) if tensors else values
    changed = part.scatter(made, part.take(made) + 1)
    wanted = values + rows.reshape(-1, *[1] * (len(shape) - 1))
    np.testing.assert_allclose(ops.convert_to_numpy(changed), wanted, atol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(made), values, atol=1e-6)
