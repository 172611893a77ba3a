"""Properties of attacks by an estimated gradient, on any network."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard.attacks import gradient_estimation
from kmtard.attacks.base import AttackBatch
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.gradient_estimation import GradientEstimation, ge
from kmtard.attacks.noise import Noise
from kmtard.attacks.norms import radii

SHAPE = (3, 4, 2)
EPSILON = 0.1
CLASSES = 3


def linear_net(classes, scale=0.3):
    net = keras.Sequential(
        [layers.Input(SHAPE), layers.Flatten(), layers.Dense(classes)]
    )
    random = np.random.default_rng(1)
    net.set_weights([random.normal(0, scale, w.shape) for w in net.get_weights()])
    return net


@pytest.fixture(scope="module")
def linear():
    return linear_net(CLASSES)


@pytest.fixture(scope="module")
def pair():
    """Return a net of two classes, whose margin has the same gradient everywhere."""
    return linear_net(2)


@pytest.fixture
def images():
    return np.random.default_rng(4).random((9, *SHAPE), "float32")


@pytest.fixture
def labels(linear, images):
    """Return the predictions, the last two of them replaced by wrong labels."""
    y = predicted(linear, images)
    y[-2:] = (y[-2:] + 1) % CLASSES
    return y


def predicted(model, x):
    return ops.convert_to_numpy(model(x)).argmax(axis=1)


def found(attack, model, x, y, active=None):
    batch = AttackBatch(
        ops.convert_to_tensor(x),
        ops.convert_to_tensor(y.astype("int32")),
        Noise(0, np.arange(len(x))),
        np.ones(len(x), bool) if active is None else active,
    )
    return attack.attack_batch(Classifier.of(model), batch)


def estimates(model, x, y, monkeypatch, samples, **settings):
    """Return one estimate of the gradient of each image, from one forward pass."""
    monkeypatch.setattr(gradient_estimation, "ROWS", 2 * samples * len(x))
    attack = GradientEstimation(EPSILON, samples=samples, **settings)
    classifier = Classifier.of(model)
    x, y = ops.convert_to_tensor(x), ops.convert_to_tensor(y, "int32")
    keys = Noise(0, np.arange(len(x))).integers(2**31 - 1, (2,), "test")
    sizes = radii(attack.epsilon, x), radii(attack.step_size, x)
    constants = (x, y, ops.convert_to_tensor(keys), *sizes)
    state = gradient_estimation._initial(x, y, np.ones(len(x), bool))
    state = attack._moved(classifier, state, constants, 0, 1)
    stop = ops.full(y.shape, samples, dtype="int32")
    total = attack._estimate(classifier, state, *constants, stop)["gradient"]
    directions = samples // (2 if attack.antithetic else 1)
    return ops.convert_to_numpy(total) / directions


def gradient(pair, y):
    """Return the gradient of the negative margin of the two classes."""
    kernel, _ = pair.get_weights()
    rising = (kernel[:, 1] - kernel[:, 0]).reshape(SHAPE)
    return np.where((y == 0)[:, None, None, None], rising, -rising)


# A property of the estimate; the golden files hold every backend to the same one.
@pytest.mark.once("torch")
@pytest.mark.parametrize("distribution", ["gaussian", "rademacher"])
@pytest.mark.parametrize("antithetic", [True, False], ids=["antithetic", "one-sided"])
def test_estimate_converges_to_the_gradient(
    distribution, antithetic, pair, images, monkeypatch
):
    y = predicted(pair, images)
    true = gradient(pair, y)
    errors, agreements = [], []
    for samples in (8, 128, 2048):
        estimate = estimates(
            pair,
            images,
            y,
            monkeypatch,
            samples,
            distribution=distribution,
            antithetic=antithetic,
        )
        errors.append(np.linalg.norm(estimate - true) / np.linalg.norm(true))
        agreements.append(np.mean(np.sign(estimate) == np.sign(true)))
    # Of P pixels and K directions the relative error is about sqrt(P / K).
    assert errors[0] > 2 * errors[1] > 4 * errors[2] and errors[2] < 0.25
    assert agreements[0] < agreements[1] < agreements[2] and agreements[2] > 0.9


def test_steps_follow_the_sign(pair, images):
    x = 0.4 + 0.2 * images
    y = predicted(pair, x)
    attack = GradientEstimation(1e-6, samples=4096, steps=1, step_size=1e-6)
    moved = np.sign(attack(pair, x, y) - x)
    assert np.mean(moved == np.sign(gradient(pair, y))) > 0.9


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"loss": "ce", "antithetic": False},
        {"distribution": "rademacher", "optimizer": "adam", "sigma": 0.01},
    ],
    ids=["gaussian", "one-sided", "spsa"],
)
def test_stays_in_the_ball_and_fools_some(settings, linear, images, labels):
    images[0], images[1] = 0, 1
    labels[:2] = predicted(linear, images[:2])
    attack = GradientEstimation(EPSILON, samples=64, step_size=0.03, **settings)
    result = attack.run(linear, images, labels)
    np.testing.assert_array_equal(
        result.success, predicted(linear, result.x_adv) != labels
    )
    assert 0 < result.success[:-2].sum() < 7
    assert np.abs(result.x_adv - images).max() <= EPSILON + 1e-6
    assert result.x_adv.min() >= 0 and result.x_adv.max() <= 1
    np.testing.assert_array_equal(result.x_adv[-2:], images[-2:])
    assert not result.backwards.any()


def test_counts(linear, images, labels):
    samples = [4, 4, 10, 2, 6]
    attack = GradientEstimation(EPSILON, samples=samples, steps=5, step_size=0.05)
    result = found(attack, linear, images, labels)
    fooled = predicted(linear, ops.convert_to_numpy(result.x_adv)) != labels
    steps = np.cumsum([1, *(n + 1 for n in samples)])
    assert (result.queries[:-2][~fooled[:-2]] == steps[-1]).all()
    assert set(result.queries[:-2]) <= set(steps)
    assert not result.queries[-2:].any()
    np.testing.assert_array_equal(result.forwards, result.queries + 1)


def test_rows_that_are_not_active_cost_nothing(linear, images, labels):
    active = np.arange(len(images)) % 2 == 0
    attack = GradientEstimation(EPSILON, samples=4, steps=2)
    result = found(attack, linear, images, labels, active)
    x_adv = ops.convert_to_numpy(result.x_adv)
    np.testing.assert_array_equal(x_adv[~active], images[~active])
    assert not result.forwards[~active].any()
    assert (x_adv[active][:-1] != images[active][:-1]).any(axis=(1, 2, 3)).all()


def test_neither_batch_size_nor_order_nor_memory_matters(
    linear, images, labels, monkeypatch
):
    settings = {"samples": 30, "steps": 6, "step_size": 0.01}
    whole = GradientEstimation(EPSILON, **settings).run(linear, images, labels, seed=3)
    order = np.random.default_rng(0).permutation(len(images))
    monkeypatch.setattr(gradient_estimation, "ROWS", 16)
    # Another radius in the last digits: what is compiled already is not used again.
    parts = GradientEstimation(EPSILON + 1e-9, **settings).run(
        linear, images[order], labels[order], seed=3, indices=order, batch_size=4
    )
    np.testing.assert_allclose(parts.x_adv, whole.x_adv[order], atol=1e-6)
    np.testing.assert_array_equal(parts.queries, whole.queries[order])


def test_forward_passes_are_bounded(pair, images, monkeypatch):
    sizes = []
    logits = Classifier.logits

    def spied(self, x):
        sizes.append(x.shape[0])
        return logits(self, x)

    monkeypatch.setattr(Classifier, "logits", spied)
    attack = GradientEstimation(EPSILON, samples=20_000, steps=0)
    attack.steps, attack._directions = 1, [10_000]
    assert attack._at_once(9) * 9 * 2 <= gradient_estimation.ROWS
    assert attack._at_once(10_000) == 1
    small = GradientEstimation(EPSILON + 2e-9, samples=2000, steps=1)
    small(pair, images, predicted(pair, images))
    assert sizes and max(sizes) * 2 <= gradient_estimation.ROWS


@pytest.mark.parametrize("optimizer", ["sign", "adam"])
def test_constant_network_gives_no_direction(optimizer, images):
    net = linear_net(CLASSES, scale=0)
    attack = GradientEstimation(samples=4, steps=2, optimizer=optimizer)
    result = attack.run(net, images, np.zeros(len(images), int))
    np.testing.assert_array_equal(result.x_adv, images)
    assert not result.success.any()


@pytest.mark.parametrize("settings", [{"steps": 0}, {"epsilon": 0}, {"step_size": 0}])
def test_nothing_to_do_changes_nothing(settings, linear, images, labels):
    attack = GradientEstimation(**{"samples": 4, "steps": 2, **settings})
    x_adv = attack(linear, images[:1], labels[:1])
    np.testing.assert_array_equal(x_adv, images[:1])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"epsilon": -0.1}, "epsilon.*-0.1"),
        ({"loss": "dlr"}, "margin.*'dlr'"),
        ({"sigma": 0}, "sigma.*0"),
        ({"steps": -1}, "steps.*-1"),
        ({"steps": 1.5}, "steps.*1.5"),
        ({"step_size": float("nan")}, "step_size.*nan"),
        ({"distribution": "uniform"}, "rademacher.*'uniform'"),
        ({"optimizer": "sgd"}, "adam.*'sgd'"),
        ({"samples": 0}, "samples.*even.*0"),
        ({"samples": 3}, "samples.*even.*3"),
        ({"samples": [2, 2, 3], "steps": 3}, r"even.*\[2, 2, 3\]"),
        ({"samples": [2, 2], "steps": 3}, r"3 steps.*\[2, 2\]"),
        ({"samples": 0, "antithetic": False}, "samples.*0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        GradientEstimation(**arguments)


def test_setting_under_the_paper_s_name():
    config = ge(epsilon=0.2).get_config()
    wanted = {"epsilon": 0.2, "step_size": 0.2 / 8, "steps": 20, "sigma": 8 / 255}
    assert config == {**config, **wanted, "loss": "margin", "distribution": "gaussian"}
