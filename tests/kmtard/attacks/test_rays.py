"""Properties of RayS on any network."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard import backend
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.rays import TOLERANCE, RayS, Search, blocks, rays_100

SHAPE = (4, 5, 3)
CLASSES = 4
FOREVER = float("inf")


@pytest.fixture(scope="module")
def conv():
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            layers.Input(SHAPE),
            layers.Conv2D(6, 3, activation="tanh", kernel_initializer="he_normal"),
            layers.Flatten(),
            layers.Dense(CLASSES),
        ]
    )


@pytest.fixture
def images():
    x = np.random.default_rng(4).random((6, *SHAPE), "float32")
    x[0, 0], x[1, 1] = 0, 1
    return x


@pytest.fixture
def labels(conv, images):
    return predicted(conv, images).astype("int32")


def predicted(model, x):
    return ops.convert_to_numpy(model(x)).argmax(axis=1)


def searched(attack, classifier, x, y):
    x, y = ops.convert_to_tensor(x), ops.convert_to_tensor(y)
    state = attack.search(classifier, x, y, np.full(len(x), True))
    return Search(*map(ops.convert_to_numpy, state))


class Reference:
    """The search of one image as it is written down: level, block, bisection.

    Args:
        wrong: (channels, height, width) image -> whether it is misclassified.
        x: (channels, height, width).
        limit: queries after which no try begins.
        strict: whether a bisection ends there too.
    """

    def __init__(self, wrong, x, limit, strict):
        self.asked, self.limit, self.strict = 0, limit, strict
        self.wrong, self.x = wrong, x.ravel()
        self.signs, self.radius = np.ones(x.size, "float32"), np.float32(np.inf)
        level = 0
        while self.asked < limit:
            size = int(np.ceil(x.size / 2**level))
            for block in range(0, x.size, size):
                if self.asked < limit:
                    self.attempt(slice(block, block + size))
            level += 1

    def point(self, signs, radius):
        unit = signs / np.float32(np.sqrt(signs.size))
        return np.clip(self.x + radius * unit, 0, 1)

    def ask(self, signs, radius):
        self.asked += 1
        return self.wrong(self.point(signs, radius))

    def attempt(self, block):
        signs = self.signs.copy()
        signs[block] *= -1
        if not self.ask(signs, self.radius):
            return
        low = np.float32(0)
        high = min(self.radius, np.float32(np.sqrt(signs.size)))
        while not (self.strict and self.asked >= self.limit):
            middle = (low + high) / np.float32(2)
            low, high = (low, middle) if self.ask(signs, middle) else (middle, high)
            if high - low <= TOLERANCE:
                break
        if high < self.radius:
            self.signs, self.radius = signs, high

    @property
    def distance(self):
        return np.abs(self.point(self.signs, self.radius) - self.x).max()


@pytest.mark.parametrize("strict", [False, True], ids=["finish", "strict"])
@pytest.mark.parametrize("queries", [1, 7, 60])
def test_search_is_the_written_one(queries, strict, conv, images, labels):
    attack = RayS(0.01, queries=queries, strict_budget=strict, early_stop=False)
    state = searched(attack, Classifier.of(conv), images, labels)
    for row, (x, y) in enumerate(zip(images, labels, strict=True)):

        def wrong(flat, y=y):
            image = flat.reshape(3, 4, 5).transpose(1, 2, 0)
            return predicted(conv, image[None])[0] != y

        wanted = Reference(wrong, x.transpose(2, 0, 1), queries, strict)
        assert state.queries[row] == wanted.asked
        assert state.radius[row] == pytest.approx(wanted.radius, abs=1e-6)
        assert state.distance[row] == pytest.approx(wanted.distance, abs=1e-6)


def test_channels_first_is_the_same_search(conv, images, labels):
    first = keras.Sequential([layers.Input((3, 4, 5)), layers.Permute((2, 3, 1)), conv])
    attack = RayS(0.05, queries=40, early_stop=False)
    turned = images.transpose(0, 3, 1, 2)
    classifier = Classifier(first, channels_last=False)
    result = attack.run(classifier, np.ascontiguousarray(turned), labels)
    wanted = attack.run(conv, images, labels)
    np.testing.assert_array_equal(result.queries, wanted.queries)
    np.testing.assert_allclose(
        result.x_adv, wanted.x_adv.transpose(0, 3, 1, 2), atol=1e-6
    )


def test_blocks():
    wanted = [[0, 5], [0, 3], [3, 5], [0, 2], [2, 4], [4, 5], [0, 1], [1, 2], [2, 3]]
    np.testing.assert_array_equal(blocks(5, 9), wanted)
    assert blocks(5, 60)[-1].max() <= 5
    np.testing.assert_array_equal(blocks(1, 3), [[0, 1]] * 3)


def test_epsilon_decides_whom_it_fools(conv, images, labels):
    full = RayS(0.0, queries=60, early_stop=False)
    distance = searched(full, Classifier.of(conv), images, labels).distance
    epsilon = float(np.sort(distance)[2:4].mean())
    for early_stop in (True, False):
        result = RayS(epsilon, queries=60, early_stop=early_stop).run(
            conv, images, labels
        )
        assert (result.success >= (distance <= epsilon)).all()
        moved = np.abs(result.x_adv - images).max(axis=(1, 2, 3))
        assert moved.max() <= epsilon + 1e-6
        np.testing.assert_array_equal(moved > 0, result.success)
        assert not result.backwards.any()
    assert result.success.any() and not result.success.all()


def test_stops_early(conv, images, labels):
    stopped = RayS(1.0, queries=60).run(conv, images, labels)
    full = RayS(1.0, queries=60, early_stop=False).run(conv, images, labels)
    found = stopped.success
    np.testing.assert_array_equal(found, full.success)
    assert (stopped.queries <= full.queries).all()
    assert stopped.queries[found].max() < 30
    # Queries exclude the first and the final prediction.
    np.testing.assert_array_equal(full.forwards, full.queries + 2)


def test_strict_budget_is_kept(conv, images, labels):
    result = RayS(0.0, queries=20, strict_budget=True).run(conv, images, labels)
    np.testing.assert_array_equal(result.queries, np.full(6, 20))


def test_leaves_alone_what_is_misclassified(conv, images, labels):
    result = RayS(0.5, queries=10).run(conv, images, (labels + 1) % CLASSES)
    assert result.success.all()
    np.testing.assert_array_equal(result.x_adv, images)
    np.testing.assert_array_equal(result.queries, np.zeros(6))


@pytest.mark.parametrize("epsilon", [0.5, FOREVER])
def test_constant_network(epsilon, images):
    net = keras.Sequential([layers.Input(SHAPE), layers.Flatten()])
    net.add(layers.Dense(2, kernel_initializer="zeros"))
    images[2] = 1
    result = RayS(epsilon, queries=10).run(net, images, np.zeros(6, int))
    np.testing.assert_array_equal(result.x_adv, images)
    assert not result.success.any()
    np.testing.assert_array_equal(result.queries, np.full(6, 10))


def test_zero_epsilon(conv, images, labels):
    result = RayS(0.0, queries=10).run(conv, images, labels)
    np.testing.assert_array_equal(result.x_adv, images)
    assert not result.success.any()


def test_compiled_loop_is_the_steps(conv, images, labels, monkeypatch):
    attack = RayS(0.05, queries=20)
    steps = attack.run(conv, images, labels)
    monkeypatch.setattr(backend, "on_cpu", lambda: False)
    loop = attack.run(conv, images, labels)
    np.testing.assert_array_equal(loop.queries, steps.queries)
    np.testing.assert_allclose(loop.x_adv, steps.x_adv, atol=1e-6)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"epsilon": -0.1}, "epsilon.*-0.1"),
        ({"epsilon": float("nan")}, "epsilon.*nan"),
        ({"queries": 0}, "queries.*0"),
        ({"queries": 9.5}, "queries.*9.5"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        RayS(**arguments)


def test_papers_setting():
    assert rays_100(epsilon=0.1).get_config() == RayS(0.1).get_config()
    assert RayS().queries == 100
