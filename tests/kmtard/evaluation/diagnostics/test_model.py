"""Each diagnostic speaks where it should and is silent for a sound model."""

import cProfile
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard import backend
from kmtard.attacks.classifier import Classifier
from kmtard.evaluation.diagnostics.model import check_model, input_scale
from kmtard.networks.own_model import adapted
from tests.kmtard.evaluation.diagnostics.nets import (
    Apply,
    labels,
    names,
    net,
    rounded,
)


def noisy(layer, x):
    return x + 0.1 * keras.random.normal(ops.shape(x), seed=layer.seeds)


def constant(layer, x):
    return 0.0 * x + 1.0


def nothing_but_nan(layer, x):
    return x * float("nan")


def mean_of_the_batch(layer, x):
    return x - ops.mean(x, axis=0, keepdims=True)


def purified(layer, x):
    return x + 0.1 * backend.input_gradient(lambda u: ops.sum(u**2, (1, 2, 3)), x)


def shifted(x, loop):
    """Add what a loop adds. Some backends cannot differentiate the loop."""
    still = ops.stop_gradient(x)
    return x + ops.stop_gradient(loop(still) - still)


def descended(layer, x):
    """Move the image by a gradient that is written out, in a loop."""

    def loop(x):
        return ops.while_loop(
            lambda n, u: n < 3, lambda n, u: (n + 1, u - 0.1 * u), (0, x)
        )[1]

    return shifted(x, loop)


def scanned(layer, x):
    def loop(x):
        return ops.scan(lambda u, _: (0.9 * u, None), x, length=3)[0]

    return shifted(x, loop)


def test_sound_model(x):
    model = net(first=[layers.BatchNormalization(), layers.Dropout(0.5)])
    y = labels(model, x)
    assert check_model(model, x, y) == []


@pytest.mark.parametrize(
    "function, name",
    [
        (noisy, "randomised-defence"),
        (constant, "identical-logits"),
        (constant, "zero-gradients"),
        (rounded, "zero-gradients"),
        (nothing_but_nan, "non-finite"),
        (mean_of_the_batch, "batch-dependence"),
        (purified, "dynamic-defence"),
        (descended, "loop-in-prediction"),
        (scanned, "loop-in-prediction"),
    ],
)
def test_unsound_model(function, name, x):
    model = net(first=[Apply(function)])
    found = check_model(model, x, np.zeros(8, int))
    assert name in names(found)


@pytest.mark.quick("torch")
@pytest.mark.parametrize("kind", ["GRU", "SimpleRNN"])
def test_a_recurrent_layer_is_sound(kind, x):
    rows = [layers.Reshape((4, 4)), getattr(layers, kind)(6)]
    image = keras.Input((4, 4, 1))
    model = keras.Sequential([image, *rows, layers.Dense(4)])
    found = check_model(model, x, labels(model, x))
    assert found == []


def test_random_numbers_are_no_loop(x):
    found = check_model(net(first=[Apply(noisy)]), x, np.zeros(8, int))
    assert "loop-in-prediction" not in names(found)


def test_a_profiler_of_the_user_goes_on(x):
    profile = cProfile.Profile()
    profile.enable()
    try:
        found = check_model(net(first=[Apply(purified)]), x, np.zeros(8, int))
        assert sys.getprofile() is profile
    finally:
        profile.disable()
    assert "dynamic-defence" in names(found)


@pytest.mark.parametrize("known", [True, False])
def test_randomness_is_told_whatever_attacks(x, known):
    model = net(first=[Apply(noisy)])
    found = check_model(model, x, np.zeros(8, int), expect_random=known)
    [random] = [each for each in found if each.name == "randomised-defence"]
    assert ("autoattack_rand" in random.message) is not known
    assert "batch-dependence" not in names(found)


@pytest.mark.parametrize(
    "layer, input_range, wrong",
    [
        (lambda: layers.Rescaling(1 / 255), (0, 1), True),
        (lambda: layers.Rescaling(1 / 255), (0, 255), False),
        (lambda: layers.Rescaling(2.0, offset=-1.0), (0, 1), False),
        (lambda: layers.Normalization(mean=120.0, variance=3600.0), (0, 1), True),
        (lambda: layers.Normalization(mean=120.0, variance=3600.0), (0, 255), False),
        (lambda: layers.Normalization(mean=0.5, variance=0.06), (0, 1), False),
    ],
)
def test_layers_for_another_range(layer, input_range, wrong, x):
    model = net(first=[layer()])
    classifier = Classifier(model, input_range=input_range)
    found = check_model(classifier, x, np.zeros(8, int))
    told = [each.message for each in found if each.name == "input-scale"]
    assert bool(told) is wrong
    assert all("--input-range 0,255" in each for each in told)


class AlwaysTraining(layers.BatchNormalization):
    def call(self, x, training=None):
        return super().call(x, training=True)


def test_training_mode_is_seen_and_undone(x):
    model = net(first=[AlwaysTraining()])
    before = [np.array(w) for w in model.get_weights()]
    found = check_model(model, x, np.zeros(8, int))
    assert {"training-mode", "batch-dependence"} <= names(found)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_saturated_model_has_no_cross_entropy_gradient(x):
    model = net()
    y = labels(model, x)
    model.set_weights([1e4 * w for w in model.get_weights()])
    found = check_model(model, x, y)
    assert any("'ce'" in f.message for f in found if f.name == "zero-gradients")
    assert not any("'dlr'" in f.message for f in found)


@pytest.mark.filterwarnings("ignore:Attacks need logits")
def test_softmax_output(x):
    model = net(layers.Softmax())
    found = check_model(model, x, np.zeros(8, int))
    assert "softmax-output" in names(found)
    assert any("kmtard.networks.logits_of(model)" in each.message for each in found)


def test_one_image_and_two_classes(x):
    model = net(classes=2)
    assert check_model(model, x[:1], labels(model, x[:1])) == []


def test_input_range(x):
    model = net()
    found = check_model(model, x / 255, labels(model, x / 255))
    assert "input-range" in names(found)


def test_an_adapted_model_gets_the_range_that_it_was_made_for() -> None:
    """Images are scaled to [0, 255] before the model's own Rescaling."""
    inner = [layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(3)]
    own = keras.Sequential([keras.Input((4, 4, 1)), *inner])
    network = adapted(own, input_shape=(4, 4, 1))
    assert not input_scale(Classifier(network))
    assert input_scale(Classifier(own))
