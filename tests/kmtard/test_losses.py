"""Losses at their limits: confident logits, low precision, one-hot targets."""

import keras
import numpy as np
import pytest
from keras import ops

from kmtard import backend, losses


def log_softmax(z):
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def plain_cross_entropy(labels, logits):
    own = ops.one_hot(labels, logits.shape[-1])
    return -ops.sum(own * ops.log_softmax(logits), axis=-1)


def random_logits(shape=(64, 10), size=3.0):
    return size * np.random.default_rng(0).standard_normal(shape)


def value(tensor):
    return ops.convert_to_numpy(tensor)


@pytest.mark.parametrize("size", [0.0, 1.0, 5.0])
def test_cross_entropy_is_minus_log_softmax(size):
    logits = random_logits(size=size)
    labels = np.arange(64) % 10
    wanted = -log_softmax(logits)[np.arange(64), labels]
    got = losses.cross_entropy(
        ops.convert_to_tensor(labels), ops.convert_to_tensor(logits, "float32")
    )
    assert got.shape == (64,)
    np.testing.assert_allclose(value(got), wanted, rtol=1e-5, atol=1e-6)


def test_cross_entropy_of_confident_logits_keeps_its_digits():
    got = losses.cross_entropy(
        ops.convert_to_tensor([0, 1]),
        ops.convert_to_tensor([[40.0, 0.0, 1.0], [40.0, 0.0, 1.0]], "float32"),
    )
    wanted = [np.log1p(np.exp(-40) + np.exp(-39)), 40 + np.log1p(np.exp(-40))]
    np.testing.assert_allclose(value(got), wanted, rtol=1e-5)


def test_cross_entropy_of_confident_logits_keeps_its_gradient():
    labels = ops.convert_to_tensor([0])
    logits = ops.convert_to_tensor([[40.0, 0.0, 1.0]], "float32")
    wanted = np.exp([[40.0, 0.0, 1.0]] - np.logaddexp.reduce([40.0, 0.0, 1.0]))
    wanted[0, 0] = -wanted[0, 1:].sum()
    gradient = value(
        backend.input_gradient(lambda z: losses.cross_entropy(labels, z), logits)
    )
    np.testing.assert_allclose(gradient, wanted, rtol=1e-5)
    plain = value(
        backend.input_gradient(lambda z: plain_cross_entropy(labels, z), logits)
    )
    # Why the stable form is there: the plain one loses this component.
    assert abs(plain[0, 0] - wanted[0, 0]) > 0.5 * abs(wanted[0, 0])


def test_cross_entropy_is_finite_at_extreme_logits():
    logits = ops.convert_to_tensor([[1e4, -1e4], [-1e4, 1e4]], "float32")
    got = value(losses.cross_entropy(ops.convert_to_tensor([0, 0]), logits))
    np.testing.assert_allclose(got, [0, 2e4])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    "function",
    [
        lambda z: losses.cross_entropy(ops.zeros((8,), "int32"), z),
        lambda z: losses.kl_divergence(z, ops.flip(z, axis=0)),
        lambda z: losses.kl_divergence(z, ops.flip(z, axis=0), floor=1e-5),
        losses.entropy,
    ],
    ids=["cross_entropy", "kl", "kl_floor", "entropy"],
)
def test_half_precision_is_computed_in_float32(function, dtype):
    half = ops.cast(ops.convert_to_tensor(random_logits((8, 10)), "float32"), dtype)
    got, wanted = function(half), function(ops.cast(half, "float32"))
    assert keras.backend.standardize_dtype(got.dtype) == "float32"
    np.testing.assert_allclose(value(got), value(wanted), rtol=1e-6)


@pytest.mark.parametrize("floor", [0, 1e-5])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_kl_divergence(floor, temperature):
    target, logits = random_logits(), random_logits()[::-1]
    t = np.exp(log_softmax(target / temperature))
    wanted = (t * (np.log(t + floor) - log_softmax(logits))).sum(-1)
    got = losses.kl_divergence(
        ops.convert_to_tensor(target, "float32"),
        ops.convert_to_tensor(logits.copy(), "float32"),
        target_temperature=temperature,
        floor=floor,
    )
    np.testing.assert_allclose(value(got), wanted, rtol=2e-5, atol=1e-6)


def test_kl_divergence_takes_a_temperature_for_each_example():
    z = ops.convert_to_tensor(random_logits((3, 10)), "float32")
    s = ops.flip(z, axis=0)
    together = losses.kl_divergence(
        z, s, target_temperature=ops.convert_to_tensor([[1.0], [2.0], [5.0]])
    )
    for i, temperature in enumerate((1.0, 2.0, 5.0)):
        alone = losses.kl_divergence(
            z[i : i + 1], s[i : i + 1], target_temperature=temperature
        )
        np.testing.assert_allclose(value(together)[i], value(alone)[0], rtol=1e-5)


def test_kl_divergence_of_one_hot_targets_is_finite():
    target = ops.convert_to_tensor([[500.0, 0.0, -500.0]], "float32")
    logits = ops.convert_to_tensor([[0.0, 0.0, 0.0]], "float32")
    for floor, wanted in ((0, np.log(3)), (1e-5, np.log(3) + np.log1p(1e-5))):
        got = losses.kl_divergence(target, logits, floor=floor)
        np.testing.assert_allclose(value(got), [wanted], rtol=1e-6)


def test_kl_divergence_vanishes_between_equals_and_floor_adds_little():
    z = ops.convert_to_tensor(random_logits(), "float32")
    np.testing.assert_allclose(value(losses.kl_divergence(z, z)), 0, atol=1e-6)
    floored = value(losses.kl_divergence(z, z, floor=1e-5))
    assert (floored > 0).all() and (floored < 10 * 1e-5 + 1e-6).all()


def test_kl_divergence_has_gradients_on_both_sides():
    z = ops.convert_to_tensor(random_logits((4, 5)), "float32")
    other = ops.flip(z, axis=0)
    for function in (
        lambda a: losses.kl_divergence(a, other),
        lambda a: losses.kl_divergence(other, a),
    ):
        assert np.abs(value(backend.input_gradient(function, z))).max() > 1e-2


@pytest.mark.parametrize("classes", [2, 10, 200])
def test_entropy_of_equal_logits_is_log_of_the_classes(classes):
    flat = ops.zeros((3, classes))
    np.testing.assert_allclose(
        value(losses.entropy(flat, floor=0)), np.log(classes), rtol=1e-6
    )
    floored = value(losses.entropy(flat))
    assert (floored < np.log(classes)).all()
    np.testing.assert_allclose(floored, np.log(classes), atol=1.1e-5 * classes)


def test_entropy_of_certainty_is_zero_up_to_the_floor():
    certain = ops.convert_to_tensor([[500.0, 0.0, 0.0]], "float32")
    np.testing.assert_allclose(value(losses.entropy(certain)), 0, atol=1.2e-5)


def test_entropy_grows_with_temperature():
    z = ops.convert_to_tensor(random_logits(), "float32")
    steps = [value(losses.entropy(z, temperature=t)) for t in (1.0, 1.5, 3.0, 10.0)]
    assert (np.diff(steps, axis=0) > 0).all()
