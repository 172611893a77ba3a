"""HopSkipJump on small networks: what it finds, and that decisions are all it uses."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard import backend
from kmtard.attacks import PGD, HopSkipJump, hop_skip_jump
from kmtard.attacks.base import AttackBatch
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.noise import Noise

pytestmark = pytest.mark.quick("torch")

SHAPE = (4, 3, 1)
SIZE = 12
CLASSES = 3
FOREVER = float("inf")
ORDERS = {"linf": np.inf, "l2": 2}
DUALS = {"linf": 1, "l2": 2}


@keras.saving.register_keras_serializable(package="tests")
class Decide(layers.Layer):
    """The one-hot decision of logits."""

    def call(self, logits: Any) -> Any:
        return ops.one_hot(ops.argmax(logits, axis=-1), CLASSES)


@keras.saving.register_keras_serializable(package="tests")
class Distort(layers.Layer):
    """Other logits with the same decision."""

    def call(self, logits: Any) -> Any:
        return 5.0 * ops.tanh(logits - ops.max(logits, axis=-1, keepdims=True))


def network(*more: keras.Layer) -> keras.Model:
    """Return a linear network, before layers that change only its output."""
    made = keras.Sequential(
        [layers.Input(SHAPE), layers.Flatten(), layers.Dense(CLASSES), *more]
    )
    random = np.random.default_rng(0)
    made.set_weights([random.normal(0, 1, w.shape) for w in made.get_weights()])
    return made


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return network()


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return (0.45 + 0.1 * np.random.default_rng(1).random((6, *SHAPE))).astype("float32")


@pytest.fixture(scope="module")
def y(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return ops.convert_to_numpy(model(x)).argmax(-1)


def distances(x: np.ndarray, x_adv: np.ndarray, norm: str) -> np.ndarray:
    return np.linalg.norm((x_adv - x).reshape(len(x), -1), ORDERS[norm], axis=1)


def smallest(model: keras.Model, x: np.ndarray, norm: str) -> np.ndarray:
    """Return the distance to the nearest boundary of a linear network."""
    kernel, _ = model.get_weights()
    z = ops.convert_to_numpy(model(x))
    y = z.argmax(-1)
    gaps = np.take_along_axis(z, y[:, None], 1) - z
    slopes = np.linalg.norm(kernel.T[None] - kernel.T[y][:, None], DUALS[norm], axis=2)
    return np.where(
        np.arange(CLASSES) == y[:, None], np.inf, gaps / (slopes + 1e-9)
    ).min(axis=1)


@pytest.mark.parametrize("norm", ORDERS)
def test_distance_to_a_linear_boundary(
    norm: str, model: keras.Model, x: np.ndarray, y: np.ndarray
) -> None:
    attack = HopSkipJump(FOREVER, queries=1500, samples=30, norm=norm)
    attack = type(attack)(**{**attack.get_config(), "early_stop": False})
    result = attack.run(model, x, y)
    assert result.success.all()
    found, wanted = distances(x, result.x_adv, norm), smallest(model, x, norm)
    assert (found >= wanted - 1e-5).all()
    # The estimate of the gradient has noise.
    assert np.median(found / wanted) <= 1.15 and (found <= 1.6 * wanted).all()


@pytest.mark.parametrize("layer", [Decide, Distort])
def test_only_decisions_matter(
    layer: type[keras.Layer],
    model: keras.Model,
    x: np.ndarray,
    y: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Other logits with the same decisions, or none, lead to the same images."""

    def refused(*args: Any) -> Any:
        raise AssertionError("an attack that uses only decisions asked for a gradient")

    monkeypatch.setattr(backend, "value_and_gradient", refused)
    attack = HopSkipJump(FOREVER, queries=300, samples=20, early_stop=False)
    wanted = attack.run(model, x, y)
    classifier = Classifier(network(layer()))
    classifier._known = True  # its outputs are no probabilities, in spite of their sum
    found = attack.run(classifier, x, y)
    assert 0 < found.success.sum()
    np.testing.assert_array_equal(found.success, wanted.success)
    np.testing.assert_array_equal(found.queries, wanted.queries)
    np.testing.assert_array_equal(found.x_adv, wanted.x_adv)
    assert not found.backwards.any()


def test_a_model_of_decisions_is_attacked(x: np.ndarray, y: np.ndarray) -> None:
    """Its outputs are taken for probabilities, which changes no decision."""
    attack = HopSkipJump(0.3, queries=300, samples=20)
    with pytest.warns(UserWarning, match="logarithm"):
        found = attack.run(network(Decide()), x, y)
    plain = attack.run(network(), x, y)
    np.testing.assert_array_equal(found.x_adv, plain.x_adv)
    weak = PGD(0.3, step_size=0.05, steps=10, start="clean")
    with pytest.warns(UserWarning, match="logarithm"):
        blind = weak.run(network(Decide()), x, y)
    assert found.success.sum() > blind.success.sum() == 0


def test_queries_are_those_of_the_model(
    model: keras.Model, x: np.ndarray, y: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hop_skip_jump, "ROWS", 1)
    asked = []

    def compiled(self: Classifier, key: Any, function: Any) -> Any:
        return function

    def logits(self: Classifier, images: Any) -> Any:
        asked.append(len(images))
        return original(self, images)

    original = Classifier.logits
    monkeypatch.setattr(Classifier, "compiled", compiled)
    monkeypatch.setattr(Classifier, "logits", logits)
    attack = HopSkipJump(FOREVER, queries=120, samples=9, early_stop=False)
    for row in range(3):
        asked.clear()
        result = attack.run(model, x[[row]], y[[row]])
        assert set(asked) == {1}
        # The prediction on the returned image is not counted.
        assert len(asked) == result.queries[0] + 1 == result.forwards[0]
        assert 80 < result.queries[0] <= 120


@pytest.mark.parametrize("queries", [24, 60, 200])
def test_queries_are_limited(
    queries: int, model: keras.Model, x: np.ndarray, y: np.ndarray
) -> None:
    attack = HopSkipJump(0.0, queries=queries, samples=10)
    result = attack.run(model, x, y)
    assert result.queries.max() <= queries
    assert result.queries.max() > 0.6 * queries
    assert not result.success.any()
    np.testing.assert_array_equal(result.x_adv, x)


def test_more_queries_find_nearer_images(
    model: keras.Model, x: np.ndarray, y: np.ndarray
) -> None:
    few, many = (
        HopSkipJump(
            FOREVER, queries=queries, samples=10, norm="l2", early_stop=False
        ).run(model, x, y)
        for queries in (60, 600)
    )
    nearer = distances(x, many.x_adv, "l2") < distances(x, few.x_adv, "l2")
    assert few.success.all() and nearer.all()


def test_early_stop_saves_queries(
    model: keras.Model, x: np.ndarray, y: np.ndarray
) -> None:
    full = HopSkipJump(0.3, queries=400, samples=10, early_stop=False)
    early = HopSkipJump(0.3, queries=400, samples=10)
    full, early = (each.run(model, x, y) for each in (full, early))
    np.testing.assert_array_equal(full.success, early.success)
    assert early.success.any()
    assert (early.queries < full.queries)[early.success].all()


def test_images_of_the_class_of_noise_have_a_start() -> None:
    """All noise has a mean of about one half, and so the class of the images."""
    net = keras.Sequential(
        [layers.Input((16, 16, 1)), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    )
    net.set_weights([np.array([[0, 10.0]]), np.array([0, -7.0])])
    x = np.full((3, 16, 16, 1), 0.5, "float32")
    attack = HopSkipJump(FOREVER, queries=300, samples=10)
    result = attack.run(net, x, np.zeros(3, int))
    assert result.success.all()
    assert (result.queries > 20).all()


@pytest.mark.parametrize("targeted", [False, True])
def test_no_start(targeted: bool, x: np.ndarray) -> None:
    net = keras.Sequential([layers.Input(SHAPE), layers.Flatten()])
    net.add(layers.Dense(2, kernel_initializer="zeros"))
    attack = HopSkipJump(FOREVER, queries=100, starts=7)
    aim = np.full(len(x), int(targeted))
    result = attack.run(net, x, aim, targeted=targeted)
    assert not result.success.any()
    np.testing.assert_array_equal(result.x_adv, x)
    np.testing.assert_array_equal(result.queries, 7 + 2)


def test_channels_first_images_have_squares_too(x: np.ndarray) -> None:
    batch = AttackBatch(
        ops.convert_to_tensor(np.zeros((2, 3, 8, 8), "float32")),
        ops.convert_to_tensor([0, 0], "int32"),
        Noise(0, np.arange(2)),
        np.ones(2, bool),
    )
    net = keras.Sequential([layers.Input((3, 8, 8)), layers.Flatten(), layers.Dense(2)])
    classifier = Classifier(net, channels_last=False)
    images = [hop_skip_jump._random(classifier, batch, n, 0) for n in range(5)]
    for image, side in zip(images, (1, 2, 4, 8, 1), strict=True):
        corners = image[:, :, ::side, ::side]
        repeated = corners.repeat(side, axis=2).repeat(side, axis=3)
        np.testing.assert_array_equal(image, repeated)
        assert len(np.unique(image)) == image.size / side**2


def test_restarts_find_more(model: keras.Model, x: np.ndarray, y: np.ndarray) -> None:
    one, three = (
        HopSkipJump(
            FOREVER, queries=100, samples=10, restarts=restarts, early_stop=False
        ).run(model, x, y)
        for restarts in (1, 3)
    )
    first, best = (distances(x, each.x_adv, "linf") for each in (one, three))
    assert (best <= first + 1e-6).all() and (best < first - 1e-3).any()
    assert 200 < three.queries.min() and three.queries.max() <= 300


@pytest.mark.slow
@pytest.mark.parametrize("norm, epsilon", [("linf", 0.1), ("l2", 0.8)])
def test_finds_what_pgd_finds(golden_net: Any, norm: str, epsilon: float) -> None:
    """On trained networks, from several starts, up to four images of 32."""
    if golden_net.prefix != "digits_a":
        pytest.skip("one pair of networks is enough")
    x, y = golden_net.x[:32], golden_net.y[:32]
    attack = HopSkipJump(epsilon, queries=1000, samples=20, restarts=20, norm=norm)
    pgd = PGD(epsilon, step_size=epsilon / 4, steps=40, norm=norm)
    found, wanted = (each.run(golden_net.model, x, y) for each in (attack, pgd))
    assert wanted.success.sum() - found.success.sum() <= 4


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"epsilon": -0.1}, "`epsilon` must be a number >= 0.*-0.1"),
        ({"epsilon": float("nan")}, "`epsilon`.*nan"),
        ({"queries": 0}, "`queries` must be a whole number >= 1.*0"),
        ({"queries": 9.5}, "`queries`.*9.5"),
        ({"queries": 10**9}, "`queries`.*1000000000"),
        ({"samples": 0}, "`samples`.*0"),
        ({"starts": 0}, "`starts`.*0"),
        ({"restarts": 0}, "`restarts`.*0"),
        ({"norm": "l1"}, "`norm` must be one of.*'l1'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HopSkipJump(**arguments)


def test_too_few_queries_for_a_start(
    model: keras.Model, x: np.ndarray, y: np.ndarray
) -> None:
    with pytest.raises(ValueError, match="`queries` must be >= 21 for images of 12"):
        HopSkipJump(queries=20).run(model, x, y)
    assert HopSkipJump(queries=21).run(model, x, y).queries.max() <= 21
