"""How AutoAttack puts its attacks together."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard.attacks.apgd import APGD
from kmtard.attacks.autoattack import VERSIONS, AutoAttack, autoattack_rand, members
from kmtard.attacks.base import Attack, Found
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.fab import FAB
from kmtard.attacks.square import Square

SHAPE = (4, 4, 1)
EPSILON = 0.1


class Brightens(Attack):
    """Adds a constant to every image; asks the model three times."""

    def __init__(self, by):
        self.by = by
        self.seen = []

    def attack_batch(self, classifier, batch):
        self.seen += batch.noise.indices[batch.active].tolist()
        counts = 3 * batch.active
        x_adv = ops.clip(batch.x + self.by, 0, 1)
        return Found(x_adv, counts, counts, 2 * batch.active)


@pytest.fixture
def net():
    """Return a net whose class is how bright an image is: below 0.5, 0.7, above."""
    net = keras.Sequential(
        [layers.Input(SHAPE), layers.GlobalAveragePooling2D(), layers.Dense(3)]
    )
    net.set_weights(
        [np.array([[0, 10, 20]], "float32"), np.array([0, -5, -12], "float32")]
    )
    return net


@pytest.fixture
def x():
    means = np.array([0.42, 0.3, 0.45, 0.1, 0.62, 0.9], "float32")
    return np.broadcast_to(means[:, None, None, None], (6, *SHAPE)).copy()


Y = np.array([0, 0, 0, 0, 1, 0])
"""The last image is classified wrongly."""


def sequence(**settings):
    attacks = {"little": Brightens(0.1), "much": Brightens(0.25)}
    return AutoAttack(attacks=attacks, **settings)


@pytest.mark.parametrize("batch_size", [None, 4])
def test_first_success_is_kept_and_not_attacked_again(net, x, batch_size):
    attack = sequence()
    result = attack.run(net, x, Y, batch_size=batch_size)
    little, much = attack.attacks.values()
    assert sorted(little.seen) == [0, 1, 2, 3, 4]
    assert sorted(much.seen) == [1, 3]
    np.testing.assert_array_equal(result.success, [1, 1, 1, 0, 1, 1])
    added = (result.x_adv - x).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(added, [0.1, 0.25, 0.1, 0, 0.1, 0], atol=1e-6)


def test_stages_tell_what_each_attack_did(net, x):
    result = sequence().run(net, x, Y)
    little, much = result.stages.values()
    np.testing.assert_array_equal(little.robust, [0, 1, 0, 1, 0, 0])
    np.testing.assert_array_equal(much.robust, [0, 0, 0, 1, 0, 0])
    assert little.robust_accuracy == pytest.approx(2 / 6)
    np.testing.assert_array_equal(little.queries, [3, 3, 3, 3, 3, 0])
    np.testing.assert_array_equal(much.forwards, [0, 4, 0, 4, 0, 0])
    np.testing.assert_array_equal(much.backwards, [0, 2, 0, 2, 0, 0])
    # The clean image adds one query, and the final prediction another forward pass.
    np.testing.assert_array_equal(result.queries, [4, 7, 4, 7, 4, 1])
    np.testing.assert_array_equal(result.forwards, [6, 10, 6, 10, 6, 2])
    np.testing.assert_array_equal(result.backwards, [2, 4, 2, 4, 2, 0])


def test_individual_mode_lets_each_attack_work_on_all(net, x):
    attack = sequence(individual=True)
    result = attack.run(net, x, Y)
    assert sorted(attack.attacks["much"].seen) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(
        result.stages["much"].robust, [False, False, False, True, False, False]
    )
    np.testing.assert_array_equal(result.x_adv, sequence()(net, x, Y))


def test_nothing_left_to_attack(net, x):
    attack = sequence()
    result = attack.run(net, x, np.full(6, 2) - (Y == 2))
    wrong = result.success
    assert wrong[:5].all()
    np.testing.assert_array_equal(result.x_adv[wrong], x[wrong])


def conv(classes):
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            layers.Input(SHAPE),
            layers.Conv2D(6, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(classes),
        ]
    )


def short(epsilon):
    """All kinds of attacks, with few steps."""
    return {
        "apgd-ce": APGD(epsilon, steps=8),
        "apgd-t": APGD(epsilon, steps=8, loss="dlr", targets=9),
        "fab-t": FAB(epsilon, steps=8),
        "square": Square(epsilon, queries=30),
    }


@pytest.fixture
def noise():
    return np.random.default_rng(1).random((9, *SHAPE), "float32")


@pytest.mark.quick("jax", "torch")
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_few_classes(classes, noise):
    net = conv(classes)
    y = ops.convert_to_numpy(net(noise)).argmax(-1)
    result = AutoAttack(EPSILON, attacks=short(EPSILON)).run(net, noise, y, seed=5)
    assert np.abs(result.x_adv - noise).max() <= EPSILON + 1e-6
    assert result.success.any()


def test_single_sigmoid_output():
    net = conv(1)
    net.layers[-1].activation = keras.activations.sigmoid
    x = np.random.default_rng(1).random((5, *SHAPE), "float32")
    y = (ops.convert_to_numpy(net(x))[:, 0] > 0.5).astype(int)
    with pytest.warns(UserWarning, match="sigmoid"):
        result = AutoAttack(1.0, attacks=short(1.0)).run(net, x, y)
    flipped = ops.convert_to_numpy(net(result.x_adv))[:, 0] > 0.5
    np.testing.assert_array_equal(result.success, flipped != y)
    assert result.success.all()


def test_versions_are_the_papers():
    standard, plus, rand = (members(EPSILON, version) for version in VERSIONS)
    assert list(standard) == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert list(plus) == ["apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"]
    assert list(rand) == ["apgd-ce", "apgd-dlr"]
    assert {attack.eot for attack in rand.values()} == {20}
    restarts = {name: getattr(a, "restarts", 1) for name, a in plus.items()}
    assert [name for name, count in restarts.items() if count == 5] == [
        "apgd-ce",
        "apgd-dlr",
        "fab",
    ]
    for attack in (*standard.values(), *plus.values(), *rand.values()):
        assert attack.epsilon == EPSILON


@pytest.mark.quick("jax", "torch")
def test_random_model_falls_to_averaged_gradients():
    """Each call shifts the image by chance: one gradient says little."""
    keras.utils.set_random_seed(0)
    net = keras.Sequential(
        [layers.Input(SHAPE), Shaken(), layers.Flatten(), layers.Dense(2)]
    )
    x = np.full((4, *SHAPE), 0.5, "float32")
    y = np.zeros(4, int)
    kernel, _ = net.get_weights()
    net.set_weights([kernel, np.array([1.5, 0.0], "float32")])
    result = AutoAttack(
        1.0, version="rand", attacks={"apgd-ce": APGD(1.0, steps=5, eot=4)}
    ).run(net, x, y)
    assert result.success.all()
    assert result.backwards.max() % 4 == 0


class Shaken(layers.Layer):
    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(1)

    def call(self, x):
        return x + 0.1 * keras.random.normal(ops.shape(x), seed=self.seeds)


class Flips(Attack):
    """Leaves images as they are: what differs is what the model says of them."""

    epsilon = 0.1

    def attack_batch(self, classifier, batch):
        return Found(batch.x, *(0 * batch.active.astype(int),) * 3)


@pytest.mark.parametrize("draws", [[0, 1, 0], [0, 0, 1], [0, 1, 1], [1, 0, 0]])
def test_what_the_attacks_found_is_not_drawn_again(draws, x, net, monkeypatch):
    """A random model: clean, after the attack, and what a further draw would say."""
    answers = iter(draws)
    rows = len(x[:4])
    monkeypatch.setattr(
        Classifier, "predict", lambda self, x: np.full(len(x), next(answers))
    )
    result = AutoAttack(attacks={"flips": Flips()}).run(
        net, x[:4], np.zeros(rows, int), batch_size=rows
    )
    fooled = draws[0] == 1 or draws[1] == 1
    assert result.success.tolist() == [fooled] * rows
    assert (~result.stages["flips"].robust).tolist() == [fooled] * rows
    assert (result.predictions != 0).tolist() == [fooled] * rows


def test_random_version_has_a_name():
    assert autoattack_rand(epsilon=0.2).get_config()["version"] == "rand"
    assert autoattack_rand(epsilon=0.2).epsilon == 0.2


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"version": "fast"}, "`version` must be one of"),
        ({"norm": "l1"}, "`norm` must be"),
        ({"norm": "l1", "version": "rand"}, "`norm` must be"),
        ({"epsilon": -1}, "`epsilon` must be"),
        ({"epsilon": np.array([0.1, 0.2])}, "`epsilon` must be a number.*array"),
    ],
    ids=str,
)
def test_bad_arguments(arguments, message):
    for more in ({}, {"attacks": short(0.1)}):
        if not more or "epsilon" in arguments:
            with pytest.raises(ValueError, match=message):
                AutoAttack(**arguments, **more)


@pytest.mark.parametrize("version", VERSIONS)
def test_l1_is_refused(version):
    message = "`norm` must be 'linf' or 'l2', because FAB.*'l1'.*apgd_ce and apgd_t"
    with pytest.raises(ValueError, match=message):
        AutoAttack(12.0, version=version, norm="l1")
