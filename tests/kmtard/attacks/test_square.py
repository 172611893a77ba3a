"""Properties of Square on any network."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard.attacks import square_linf
from kmtard.attacks.base import AttackBatch
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.noise import Noise
from kmtard.attacks.square import Square, shares, square_100
from kmtard.attacks.square_linf import sides

# The golden tests run with TensorFlow too; there, these are a long proof.
pytestmark = pytest.mark.quick("jax", "torch")

SHAPE = (5, 4, 2)
CLASSES = 3
EPSILON = 0.1


def linear_net(shape=SHAPE, data_format="channels_last", **kwargs):
    return keras.Sequential(
        [
            layers.Input(shape),
            layers.Flatten(data_format=data_format),
            layers.Dense(CLASSES, **kwargs),
        ]
    )


@pytest.fixture(scope="module")
def linear():
    net = linear_net()
    random = np.random.default_rng(6)
    net.set_weights([random.normal(0, 0.3, w.shape) for w in net.get_weights()])
    return net


@pytest.fixture
def images():
    x = np.random.default_rng(4).random((12, *SHAPE), "float32")
    x[0], x[1] = 0, 1
    return x


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


@pytest.mark.parametrize("loss", ["margin", "ce"])
def test_every_found_pixel_is_at_the_border_of_the_ball(loss, linear, images, labels):
    result = Square(EPSILON, queries=60, loss=loss).run(linear, images, labels)
    np.testing.assert_array_equal(
        result.success, predicted(linear, result.x_adv) != labels
    )
    new = result.success.copy()
    new[-2:] = False
    assert 0 < new.sum() < 10
    low, high = (np.clip(images + s * EPSILON, 0, 1) for s in (-1, 1))
    at_border = np.isclose(result.x_adv, low) | np.isclose(result.x_adv, high)
    assert at_border[new].all()
    np.testing.assert_array_equal(result.x_adv[~new], images[~new])
    assert not result.backwards.any()


def test_start_is_one_sign_a_column_and_channel(linear, images, labels):
    x = 0.4 + 0.2 * images
    x_adv = Square(2 * EPSILON, queries=1, restarts=8)(linear, x, labels)
    signs = np.sign(x_adv - x)
    assert 0 < np.abs(signs).sum(axis=(1, 2, 3)).astype(bool).sum()
    np.testing.assert_array_equal(signs, np.broadcast_to(signs[:, :1], signs.shape))


def test_counts(linear, images, labels):
    queries = 30
    result = found(Square(EPSILON, queries=queries), linear, images, labels)
    fooled = predicted(linear, ops.convert_to_numpy(result.x_adv)) != labels
    assert (result.queries[:-2][~fooled[:-2]] == queries).all()
    assert (result.queries[:-2] >= 1).all() and (result.queries <= queries).all()
    assert (result.queries[:-2][fooled[:-2]] < queries).any()
    assert not result.queries[-2:].any()
    np.testing.assert_array_equal(result.forwards, result.queries + 1)


@pytest.mark.parametrize("schedule, channels", [("raw", 1), ("rescaled", 2)])
def test_memory_saves_passes_and_changes_nothing(
    schedule, channels, monkeypatch, images, labels
):
    # A network that is not linear, on which the order of the windows matters.
    shape = (*SHAPE[:2], channels)
    net = keras.Sequential(
        [
            layers.Input(shape),
            layers.Conv2D(6, 3, activation="relu", use_bias=False),
            layers.Flatten(),
            layers.Dense(CLASSES),
        ]
    )
    random = np.random.default_rng(2)
    net.set_weights([random.normal(0, 0.6, w.shape) for w in net.get_weights()])
    x = images[..., :channels]
    y = predicted(net, x)
    attack = Square(0.05, queries=700, schedule=schedule, restarts=2)
    saving = attack.run(net, x, y)
    monkeypatch.setattr(Classifier, "repeats", lambda self, images: False)
    wanted = attack.run(net, x, y)
    assert 0 < wanted.success.sum() < len(x)
    for name in ("x_adv", "success", "queries", "predictions"):
        np.testing.assert_array_equal(getattr(saving, name), getattr(wanted, name))
    robust = ~wanted.success
    np.testing.assert_array_equal(wanted.forwards, wanted.queries + 2)
    assert (saving.forwards[robust] < wanted.forwards[robust] / 2).all()


class Noisy(layers.Layer):
    """Add noise, in inference mode too."""

    def __init__(self, seed):
        super().__init__()
        self.seed = keras.random.SeedGenerator(seed)

    def call(self, x):
        return x + 1e-3 * keras.random.normal(ops.shape(x), seed=self.seed)


class Mirror(Noisy):
    """Mirror the images of every second call or so: often, two calls agree."""

    def call(self, x):
        coin = keras.random.uniform((1, 1, 1, 1), seed=self.seed)
        return ops.where(coin < 0.5, x, ops.flip(x, axis=2))


@pytest.mark.parametrize("kind, seed", [(Noisy, 0), *((Mirror, s) for s in range(4))])
def test_randomized_model_is_asked_again(kind, seed, images):
    net = keras.Sequential(
        [layers.Input((*SHAPE[:2], 1)), kind(seed), layers.Flatten(), layers.Dense(2)]
    )
    x = images[..., :1]
    result = Square(1e-3, queries=200).run(net, x, predicted(net, x))
    asked = result.queries > 0
    np.testing.assert_array_equal(result.forwards[asked], result.queries[asked] + 2)


def test_rows_that_are_not_active_cost_nothing(linear, images, labels):
    active = np.arange(len(images)) % 2 == 0
    result = found(Square(0.5, queries=20), linear, images, labels, active)
    x_adv = ops.convert_to_numpy(result.x_adv)
    np.testing.assert_array_equal(x_adv[~active], images[~active])
    assert not result.forwards[~active].any()
    assert (result.queries[active][:-1] >= 1).all()
    assert (x_adv != images).any()


def test_more_queries_only_add_images(linear, images, labels):
    few, more = (
        Square(EPSILON, queries=queries).run(linear, images, labels)
        for queries in (5, 150)
    )
    assert (more.success >= few.success).all() and (more.success > few.success).any()
    both = few.success
    np.testing.assert_array_equal(more.x_adv[both], few.x_adv[both])


def test_restarts_only_add_images(linear, images, labels):
    once, often = (
        Square(EPSILON, queries=4, restarts=restarts).run(linear, images, labels)
        for restarts in (1, 6)
    )
    assert (often.success >= once.success).all()
    assert often.success.sum() > once.success.sum()
    robust = ~often.success
    assert (often.queries[robust] - once.queries[robust] == 5 * 4).all()


def test_channels_first_is_the_same_attack(linear, images, labels):
    height, width, channels = SHAPE
    first = linear_net((channels, height, width), "channels_first")
    first.set_weights(linear.get_weights())
    attack = Square(EPSILON, queries=30)
    wanted = attack.run(linear, images, labels)
    result = attack.run(first, images.transpose(0, 3, 1, 2), labels)
    np.testing.assert_array_equal(result.queries, wanted.queries)
    np.testing.assert_array_equal(result.x_adv.transpose(0, 2, 3, 1), wanted.x_adv)


def test_zero_epsilon_and_one_image(linear, images, labels):
    result = Square(0, queries=12).run(linear, images[:1], labels[:1])
    np.testing.assert_array_equal(result.x_adv, images[:1])
    assert not result.success.any()


def test_constant_network_is_never_fooled(images):
    net = linear_net(kernel_initializer="zeros")
    result = Square(0.5, queries=12).run(net, images, np.zeros(len(images), int))
    assert not result.success.any()
    np.testing.assert_array_equal(result.x_adv, images)


def test_images_that_are_all_wrong_are_left_alone(linear, images):
    wrong = (predicted(linear, images) + 1) % CLASSES
    result = found(Square(0.5, queries=12), linear, images, wrong)
    np.testing.assert_array_equal(ops.convert_to_numpy(result.x_adv), images)
    assert not result.queries.any()


def test_windows_as_long_as_the_image_are_the_only_ones_to_reach_its_end():
    keys = ops.convert_to_tensor(np.arange(400).reshape(200, 2), "int32")
    for side, (height, width) in {2: (5, 4), 4: (5, 4)}.items():
        covered = windows(keys, side, height, width)
        assert (covered.sum(axis=(1, 2)) == side**2).all()
        reached = covered.any(axis=0)
        assert not reached[-1].any() and reached[:-1, : width - (side < width)].all()


def windows(keys, side, height, width):
    """Return which pixels the first window of each image covers."""
    x = ops.zeros((len(keys), height, width, 1))
    sides = np.array([side], "int32")
    first = ops.ones(1, "int32")
    drawn = square_linf.draw(x, keys, first, ops.convert_to_tensor(sides))
    number = ops.ones(len(keys), "int32")
    covers, _ = square_linf.window(x, drawn, number, sides)
    return ops.convert_to_numpy(covers)[..., 0]


def test_sides_never_leave_the_image():
    share = shares(10_000)
    assert share[0] == 0.8 and share[-1] == 0.8 / 512
    assert sides(share, 3, 50).max() == 3 and sides(share, 3, 50).min() == 1


def test_images_without_rows_are_refused():
    net = keras.Sequential([layers.Input((6,)), layers.Dense(CLASSES)])
    with pytest.raises(ValueError, match=r"height, width.*\(2, 6\)"):
        Square(0.1, queries=2)(net, np.zeros((2, 6), "float32"), np.zeros(2, int))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"epsilon": -0.1}, "epsilon.*-0.1"),
        ({"epsilon": float("nan")}, "epsilon.*nan"),
        ({"queries": 0}, "queries.*0"),
        ({"queries": 1.5}, "queries.*1.5"),
        ({"p_init": 0}, "p_init.*0"),
        ({"p_init": 1.1}, "p_init.*1.1"),
        ({"schedule": "Raw"}, "rescaled.*'Raw'"),
        ({"loss": "dlr"}, "margin.*'dlr'"),
        ({"restarts": 0}, "restarts.*0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Square(**arguments)


def test_papers_settings():
    config = square_100().get_config()
    assert config == {**config, "epsilon": 8 / 255, "queries": 100, "p_init": 0.8}
    assert config["schedule"] == "rescaled" and config["loss"] == "margin"
