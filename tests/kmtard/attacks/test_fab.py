"""Properties of FAB on any network."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard import backend
from kmtard.attacks.base import AttackBatch
from kmtard.attacks.fab import FAB, fab_t
from kmtard.attacks.noise import Noise

SHAPE = (4, 4, 2)
CLASSES = 4
FOREVER = float("inf")


def linear_net(classes=CLASSES, **kwargs):
    dense = layers.Dense(classes, **kwargs)
    return keras.Sequential([layers.Input(SHAPE), layers.Flatten(), dense])


@pytest.fixture(scope="module")
def linear():
    keras.utils.set_random_seed(1)
    return linear_net()


@pytest.fixture(scope="module")
def conv():
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            layers.Input(SHAPE),
            layers.Conv2D(4, 3, activation="tanh"),
            layers.Flatten(),
            layers.Dense(CLASSES),
        ]
    )


@pytest.fixture
def images():
    x = np.random.default_rng(4).random((6, *SHAPE), "float32")
    return (0.4 + 0.2 * x).astype("float32")


def predicted(model, x):
    return ops.convert_to_numpy(model(x)).argmax(axis=1)


def lengths(moves, norm="linf"):
    order = {"linf": np.inf, "l2": 2}[norm]
    return np.linalg.norm(moves.reshape(len(moves), -1), order, axis=1)


def boundaries(model, x, y, norm):
    """Return the distance of a linear model's boundaries, infinity for the label."""
    kernel, _ = model.get_weights()
    logits = ops.convert_to_numpy(model(x))
    lead = logits[np.arange(len(x)), y][:, None] - logits
    slope = kernel[:, y].T[:, :, None] - kernel[None]
    dual = np.linalg.norm(slope, {"linf": 1, "l2": 2}[norm], axis=1)
    dual[np.arange(len(x)), y] = 1
    lead[np.arange(len(x)), y] = np.inf
    return lead / dual


@pytest.mark.parametrize("targeted", [True, False], ids=["targeted", "untargeted"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_finds_the_nearest_boundary(norm, targeted, linear, images):
    y = predicted(linear, images)
    attack = FAB(FOREVER, steps=20, norm=norm, targeted=targeted, early_stop=False)
    x_adv = attack(linear, images, y)
    assert (predicted(linear, x_adv) != y).all()
    nearest = boundaries(linear, images, y, norm).min(axis=1)
    moved = lengths(x_adv - images, norm)
    assert (moved >= 0.9999 * nearest).all()
    assert (moved <= 1.01 * nearest + 1e-5).all()


def test_aims_in_the_order_of_the_logits(linear, images):
    y = predicted(linear, images)
    first = FAB(FOREVER, steps=20, targets=1, early_stop=False)(linear, images, y)
    logits = ops.convert_to_numpy(linear(images))
    second = logits.argsort(axis=1)[:, -2]
    wanted = boundaries(linear, images, y, "linf")[np.arange(len(y)), second]
    np.testing.assert_allclose(lengths(first - images), wanted, rtol=0.01)


@pytest.mark.quick("jax", "torch")
def test_epsilon_decides_whom_it_fools(linear, images):
    y = predicted(linear, images)
    distances = boundaries(linear, images, y, "linf").min(axis=1)
    epsilon = float(np.sort(distances)[2:4].mean())
    for early_stop in (True, False):
        attack = FAB(epsilon, steps=20, early_stop=early_stop)
        result = attack.run(linear, images, y)
        np.testing.assert_array_equal(result.success, distances <= epsilon)
        moved = lengths(result.x_adv - images)
        assert moved.max() <= epsilon + 1e-6
        np.testing.assert_array_equal(moved > 0, result.success)
        assert result.x_adv.min() >= 0 and result.x_adv.max() <= 1


@pytest.mark.quick("jax", "torch")
def test_counts_and_stops_early(linear, images):
    y = predicted(linear, images)
    full = FAB(0.0, steps=40, targets=2).run(linear, images, y)
    np.testing.assert_array_equal(full.forwards, np.full(6, 2 * 2 * 40 + 2))
    np.testing.assert_array_equal(full.queries, full.forwards - 1)
    np.testing.assert_array_equal(full.backwards, np.full(6, 80))
    stopped = FAB(1.0, steps=40, targets=2).run(linear, images, y)
    np.testing.assert_array_equal(stopped.backwards, np.full(6, 20))
    each = FAB(0.0, steps=10, targeted=False).run(linear, images, y)
    np.testing.assert_array_equal(each.backwards, np.full(6, 10 * CLASSES))
    np.testing.assert_array_equal(each.forwards, np.full(6, 10 * 2 + 2))


def test_leaves_alone_what_is_misclassified(conv, images):
    y = (predicted(conv, images) + 1) % CLASSES
    result = FAB(0.5, steps=5).run(conv, images, y)
    assert result.success.all()
    np.testing.assert_array_equal(result.x_adv, images)
    assert not result.backwards.any()


@pytest.mark.parametrize("targeted", [True, False])
def test_constant_network(targeted, images):
    net = linear_net(kernel_initializer="zeros")
    result = FAB(0.5, steps=3, targeted=targeted).run(net, images, np.zeros(6, int))
    np.testing.assert_array_equal(result.x_adv, images)
    assert not result.success.any()


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_images_in_a_corner(level, conv):
    images = np.full((3, *SHAPE), level, "float32")
    x_adv = FAB(FOREVER, steps=20, early_stop=False)(
        conv, images, predicted(conv, images)
    )
    assert np.isfinite(x_adv).all()
    assert x_adv.min() >= 0 and x_adv.max() <= 1


def test_zero_epsilon(conv, images):
    result = FAB(0.0, steps=3).run(conv, images, predicted(conv, images))
    np.testing.assert_array_equal(result.x_adv, images)


@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes(classes, images):
    keras.utils.set_random_seed(5)
    net = linear_net(classes)
    y = predicted(net, images)
    result = FAB(FOREVER, steps=10, early_stop=False).run(net, images, y)
    assert result.success.all()
    assert result.backwards.max() == 10 * (classes - 1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_restarts_begin_half_an_epsilon_away(norm, linear, images):
    y = predicted(linear, images)
    epsilon = 0.01
    started = FAB(epsilon, steps=0, restarts=2, norm=norm)
    batch = AttackBatch(
        ops.convert_to_tensor(images),
        ops.convert_to_tensor(y, "int32"),
        Noise(0, np.arange(6)),
        np.ones(6, bool),
    )
    start = ops.convert_to_numpy(started._start(batch, rank=0, restart=1))
    np.testing.assert_allclose(lengths(start - images, norm), epsilon / 2, rtol=1e-3)
    assert not started.run(linear, images, y).success.any()


@pytest.mark.quick("jax", "torch")
def test_restarts_do_not_depend_on_the_batches(conv, images):
    y = predicted(conv, images)
    attack = FAB(0.02, steps=20, restarts=2, targets=1, early_stop=False)
    whole = attack.run(conv, images, y, seed=1)
    order = np.array([4, 1, 5])
    part = attack.run(conv, images[order], y[order], seed=1, indices=order)
    np.testing.assert_allclose(part.x_adv, whole.x_adv[order], atol=1e-5)
    single = attack.run(conv, images, y, seed=1, batch_size=4)
    np.testing.assert_allclose(single.x_adv, whole.x_adv, atol=1e-5)


@pytest.mark.parametrize("targeted", [True, False])
def test_compiled_loop_is_the_steps(targeted, conv, images, monkeypatch):
    y = predicted(conv, images)
    attack = FAB(FOREVER, steps=5, targeted=targeted, targets=1, early_stop=False)
    steps = attack(conv, images, y)
    monkeypatch.setattr(backend, "on_cpu", lambda: False)
    np.testing.assert_allclose(attack(conv, images, y), steps, atol=1e-5)


def test_one_image(conv, images):
    y = predicted(conv, images)
    one = FAB(FOREVER, steps=10)(conv, images[:1], y[:1])
    assert one.shape == (1, *SHAPE)
    assert predicted(conv, one) != y[:1]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"epsilon": -0.1}, "epsilon.*-0.1"),
        ({"epsilon": float("nan")}, "epsilon.*nan"),
        ({"steps": -1}, "steps.*-1"),
        ({"steps": 2.5}, "steps.*2.5"),
        ({"restarts": 0}, "restarts.*0"),
        ({"restarts": 2, "epsilon": FOREVER}, "finite.*restarts=2"),
        ({"targets": 0}, "targets.*0"),
        ({"norm": "l1"}, "linf.*'l1'"),
        ({"alpha_max": 1.5}, "alpha_max.*1.5"),
        ({"eta": 0.9}, "eta.*0.9"),
        ({"beta": 1.0}, "beta.*1.0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        FAB(**arguments)


def test_settings_of_autoattack():
    config = fab_t(epsilon=0.1).get_config()
    assert config["epsilon"] == 0.1
    wanted = {
        "steps": 100,
        "restarts": 1,
        "targeted": True,
        "targets": 9,
        "norm": "linf",
        "alpha_max": 0.1,
        "eta": 1.05,
        "beta": 0.9,
    }
    assert wanted.items() <= config.items()
