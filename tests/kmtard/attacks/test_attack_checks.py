"""Each check speaks where it should and is silent for a sound model."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard import backend
from kmtard.attacks import checks
from kmtard.attacks.apgd import APGD
from kmtard.attacks.fab import FAB
from kmtard.attacks.gradient import PGD
from kmtard.attacks.square import Square

SHAPE = (4, 4, 1)
CLASSES = 4


@keras.saving.register_keras_serializable(package="kmtard_tests")
class Apply(layers.Layer):
    """Any function as a layer, applied whether training or not."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, x):
        return self.function(self, x)


def net(*extra, first=(), classes=CLASSES):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([layers.Input(SHAPE)])
    for layer in (
        *first,
        layers.Conv2D(6, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(classes),
        *extra,
    ):
        model.add(layer)
    return model


@pytest.fixture
def x():
    return np.random.default_rng(1).random((8, *SHAPE), "float32")


def labels(model, x):
    return ops.convert_to_numpy(model(x, training=False)).argmax(-1)


def names(findings):
    assert all(finding.message for finding in findings)
    return {finding.name for finding in findings}


def test_sound_model(x):
    model = net(first=[layers.BatchNormalization(), layers.Dropout(0.5)])
    y = labels(model, x)
    assert checks.check_model(model, x, y) == []
    assert checks.check_strength(model, x, y, epsilon=0.1) == []
    x_adv = PGD(0.1, step_size=0.02, steps=5, start="clean")(model, x, y)
    assert checks.loss_did_not_grow(model, x, x_adv, y) == []


def noisy(layer, x):
    return x + 0.1 * keras.random.normal(ops.shape(x), seed=layer.seeds)


def constant(layer, x):
    return 0.0 * x + 1.0


def nothing_but_nan(layer, x):
    return x * float("nan")


def rounded(layer, x):
    return ops.round(x)


def mean_of_the_batch(layer, x):
    return x - ops.mean(x, axis=0, keepdims=True)


def purified(layer, x):
    return x + 0.1 * backend.input_gradient(lambda u: ops.sum(u**2, (1, 2, 3)), x)


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
    ],
)
def test_unsound_model(function, name, x):
    model = net(first=[Apply(function)])
    found = checks.check_model(model, x, np.zeros(8, int))
    assert name in names(found)


def test_random_model_that_is_known_to_be(x):
    found = checks.check_model(
        net(first=[Apply(noisy)]), x, np.zeros(8, int), expect_random=True
    )
    assert "randomised-defence" not in names(found)


class AlwaysTraining(layers.BatchNormalization):
    def call(self, x, training=None):
        return super().call(x, training=True)


def test_training_mode_is_seen_and_undone(x):
    model = net(first=[AlwaysTraining()])
    before = [np.array(w) for w in model.get_weights()]
    found = checks.check_model(model, x, np.zeros(8, int))
    assert {"training-mode", "batch-dependence"} <= names(found)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_saturated_model_has_no_cross_entropy_gradient(x):
    model = net()
    y = labels(model, x)
    model.set_weights([1e4 * w for w in model.get_weights()])
    found = checks.check_model(model, x, y)
    assert any("'ce'" in f.message for f in found if f.name == "zero-gradients")
    assert not any("'dlr'" in f.message for f in found)


@pytest.mark.filterwarnings("ignore:Attacks need logits")
def test_softmax_output(x):
    model = net(layers.Softmax())
    assert "softmax-output" in names(checks.check_model(model, x, np.zeros(8, int)))


def test_one_image_and_two_classes(x):
    model = net(classes=2)
    assert checks.check_model(model, x[:1], labels(model, x[:1])) == []


def test_input_range(x):
    model = net()
    found = checks.check_model(model, x / 255, labels(model, x / 255))
    assert "input-range" in names(found)


def test_rounding_fools_the_attack_at_large_epsilon(x):
    model = net(first=[Apply(rounded)])
    found = checks.check_strength(model, x, labels(model, x), epsilon=0.1)
    assert "robust-at-large-epsilon" in names(found)


def test_loss_that_did_not_grow(x):
    model = net()
    found = checks.loss_did_not_grow(model, x, x, labels(model, x))
    assert names(found) == {"loss-did-not-grow"}


@pytest.mark.parametrize(
    "accuracies, expected",
    [
        ({"pgd": 0.5, "apgd-ce": 0.5, "square": 0.497}, {"square-better"}),
        ({"pgd": 0.5, "apgd-ce": 0.5, "square": 0.499}, set()),
        ({"pgd": 0.5, "square": 0.4}, set()),
        ({"pgd": 0.5, "fgsm": 0.6, "rays_100": 0.49}, {"white-box-weaker"}),
        ({"pgd": 0.5, "transfer_pgd": 0.49}, {"white-box-weaker"}),
        ({"pgd": 0.5, "transfer_pgd": 0.499, "clean": 0.1}, set()),
        ({"rays_100": 0.1}, set()),
    ],
)
def test_results(accuracies, expected):
    kinds = dict.fromkeys(("pgd", "fgsm", "apgd-ce"), "white-box")
    kinds |= {"rays_100": "black-box", "transfer_pgd": "transfer"}
    assert names(checks.check_results(accuracies, kinds)) == expected


@pytest.mark.parametrize(
    "check, sound, unsound",
    [
        (checks.one_step_stronger, (0.6, 0.5), (0.4, 0.5)),
        (checks.more_steps_weaker, (0.5, 0.5), (0.5, 0.6)),
        (checks.robust_at_large_epsilon, (0.0, 0.5), (0.01, 0.5)),
        (checks.robust_at_large_epsilon, (0.3, 0.1), (0.3, 0.6)),
    ],
)
def test_accuracies_in_the_wrong_order(check, sound, unsound):
    assert check(*sound) == []
    assert len(check(*unsound)) == 1


@pytest.mark.parametrize(
    "classes, expected",
    [
        (10, {}),
        (4, {"apgd-t": "3 targets", "fab-t": "3 targets"}),
        (3, {"apgd-t": "z_(3) instead", "fab-t": "2 targets"}),
        (2, {"apgd-t": "margin", "apgd-dlr": "margin", "fab-t": "1 targets"}),
    ],
)
def test_few_classes(classes, expected):
    attacks = {
        "apgd-ce": APGD(),
        "apgd-dlr": APGD(loss="dlr"),
        "apgd-t": APGD(loss="dlr", targets=9),
        "fab-t": FAB(),
        "square": Square(),
    }
    found = checks.few_classes(classes, attacks)
    told = {f.message.partition(":")[0]: f.message for f in found}
    assert set(told) == set(expected)
    for name, part in expected.items():
        assert part in told[name]
