"""Properties of every attack that follows the gradient, on any network."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import kmtard
from kmtard import backend, losses
from kmtard.attacks.apgd import APGD
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.gradient import (
    GAUSSIAN_STD,
    LOSSES,
    PGD,
    STARTS,
    cw_inf,
    fgsm,
    pgd_sat,
    pgd_trades,
)
from kmtard.evaluation.fingerprints import settings_of

# The golden tests run with TensorFlow too; there, these are a long proof.
pytestmark = pytest.mark.quick("jax", "torch")

EPSILON = 8 / 255
SHAPE = (4, 4, 2)
CLASSES = 3
ATTACKS = {
    "fgsm": fgsm(),
    "pgd_sat": pgd_sat(steps=3),
    "pgd_trades": pgd_trades(steps=3),
    "cw_inf": cw_inf(steps=3),
    **{f"pgd_{start}": PGD(steps=3, start=start) for start in STARTS},
}
RANDOM = sorted(name for name, attack in ATTACKS.items() if attack.start != "clean")


@keras.saving.register_keras_serializable(package="kmtard_tests")
def brighter(x):
    return x + 0.01


@pytest.fixture(scope="module")
def linear():
    """Return a network in which no step of an attack can lower the loss (convexity)."""
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [layers.Input(SHAPE), layers.Flatten(), layers.Dense(CLASSES)]
    )


@pytest.fixture(scope="module")
def conv():
    keras.utils.set_random_seed(2)
    net = keras.Sequential(
        [
            layers.Input(SHAPE),
            layers.Conv2D(3, 3),
            layers.BatchNormalization(),
            layers.Activation("tanh"),
            layers.Flatten(),
            layers.Dense(CLASSES),
        ]
    )
    net(np.random.default_rng(3).random((8, *SHAPE), "float32"), training=True)
    return net


@pytest.fixture
def images():
    x = np.random.default_rng(4).random((5, *SHAPE), "float32")
    x[0], x[1] = 0, 1
    return x


@pytest.fixture
def labels():
    return np.array([0, 1, 2, 0, 1])


def started(start, x, seed=0):
    attack = PGD(steps=0, start=start)
    x = attack.perturb(lambda x: x, ops.convert_to_tensor(x), lambda z: z, seed=seed)
    return ops.convert_to_numpy(x)


def loss(model, x, y):
    logits = model(x, training=False)
    return ops.convert_to_numpy(losses.cross_entropy(ops.convert_to_tensor(y), logits))


@pytest.mark.parametrize("name", ATTACKS)
def test_stays_in_the_ball_and_in_the_pixel_range(name, linear, images, labels):
    x_adv = ATTACKS[name](linear, images, labels, seed=3)
    assert isinstance(x_adv, np.ndarray)
    assert x_adv.dtype == "float32" and x_adv.shape == images.shape
    assert np.abs(x_adv - images).max() <= EPSILON + 1e-6
    assert x_adv.min() >= 0 and x_adv.max() <= 1
    assert (x_adv != images).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("name", ATTACKS)
def test_raises_the_loss_of_every_image(name, linear, images, labels):
    images = 0.1 + 0.8 * images
    attack = ATTACKS[name]
    start = PGD(steps=0, start=attack.start)(linear, images, labels, seed=3)
    x_adv = attack(linear, images, labels, seed=3)
    before, after = loss(linear, start, labels), loss(linear, x_adv, labels)
    assert (after > before).all()


@pytest.mark.parametrize("name", RANDOM)
def test_seed_decides_the_random_start(name, images):
    start = ATTACKS[name].start
    first = started(start, images, seed=5)
    np.testing.assert_array_equal(started(start, images, seed=5), first)
    assert (started(start, images, seed=6) != first).any()


@pytest.mark.parametrize("start", STARTS)
def test_start_has_its_distribution(start):
    x = np.full((64, *SHAPE), 0.5, "float32")
    noise = started(start, x) - x
    deviation = {"clean": 0, "gaussian": GAUSSIAN_STD, "uniform": EPSILON / 3**0.5}
    wanted = deviation[start.removesuffix("_clipped")]
    assert noise.std() == pytest.approx(wanted, rel=0.05)
    assert abs(noise.mean()) <= 0.1 * wanted
    if start.startswith("uniform"):
        assert EPSILON * 0.99 < np.abs(noise).max() <= EPSILON + 1e-6


@pytest.mark.parametrize("start", STARTS)
def test_only_clipped_starts_stay_in_the_pixel_range(start):
    x = started(start, np.zeros((8, *SHAPE), "float32"))
    stays = start == "clean" or start.endswith("_clipped")
    assert (x.min() >= 0) == stays


@pytest.mark.parametrize("start", STARTS)
def test_zero_epsilon_changes_nothing(start, linear, images):
    x, attack = ops.convert_to_tensor(images), PGD(epsilon=0, steps=1, start=start)
    x_adv = attack.perturb(linear, x, lambda logits: logits[:, 0], seed=0)
    np.testing.assert_array_equal(ops.convert_to_numpy(x_adv), images)


def test_zero_step_size_keeps_the_start(conv, images, labels):
    x_adv = PGD(step_size=0, steps=2, start="clean")(conv, images, labels)
    np.testing.assert_array_equal(x_adv, images)


def test_constant_network_gives_no_direction(images, labels):
    net = keras.Sequential([layers.Input(SHAPE), layers.Flatten()])
    net.add(layers.Dense(CLASSES, kernel_initializer="zeros"))
    x_adv = PGD(steps=2, start="clean")(net, images, labels)
    np.testing.assert_array_equal(x_adv, images)


def test_objective_that_ignores_the_images_gives_no_direction(linear, images):
    x = ops.convert_to_tensor(images)
    attack = PGD(steps=1, start="clean", unroll=True)
    x_adv = attack.perturb(linear, x, lambda logits: ops.zeros((5,)))
    np.testing.assert_array_equal(ops.convert_to_numpy(x_adv), images)


def test_loop_equals_unrolled_steps(conv, images, labels):
    unrolled, loop = (
        PGD(steps=4, unroll=unroll)(conv, images, labels) for unroll in (True, False)
    )
    np.testing.assert_allclose(unrolled, loop, atol=1e-6)


def test_many_steps_are_not_written_out(conv, images, labels):
    attack, calls = PGD(steps=200, start="clean"), []

    def predict(x):
        calls.append(x)
        return conv(x)

    def attacked(x):
        return attack.perturb(predict, x, lambda z: losses.cross_entropy(labels, z))

    compiled = backend.compile_function(conv, attacked)
    x_adv = ops.convert_to_numpy(compiled(ops.convert_to_tensor(images)))
    assert len(calls) < 10 or keras.backend.backend() == "torch"
    expected = attack(conv, images, labels)
    np.testing.assert_allclose(x_adv, expected, atol=1e-4)


def test_fgsm_is_the_sign_of_the_gradient(linear, images, labels):
    kernel, _ = linear.get_weights()
    logits = ops.convert_to_numpy(linear(images))
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    gradient = ((p - np.eye(CLASSES)[labels]) @ kernel.T).reshape(images.shape)
    wanted = np.clip(images + 0.1 * np.sign(gradient), 0, 1)
    x_adv = fgsm(epsilon=0.1)(linear, images, labels)
    np.testing.assert_allclose(x_adv, wanted, atol=1e-6)


def test_own_start_is_used(linear, images, labels):
    x_adv = PGD(steps=0, start=brighter)(linear, images, labels)
    np.testing.assert_allclose(x_adv, images + 0.01, atol=1e-7)


def test_model_is_left_as_it_was(conv, images, labels):
    before = [value.copy() for value in conv.get_weights()]
    trainable = [variable.trainable for variable in conv.variables]
    PGD(steps=2)(conv, images, labels)
    for old, new in zip(before, conv.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert [variable.trainable for variable in conv.variables] == trainable


def test_sees_the_present_weights(linear, images, labels):
    net = keras.models.clone_model(linear)
    net.set_weights(linear.get_weights())
    attack = fgsm()
    delta = attack(net, images, labels) - images
    net.set_weights([-value for value in linear.get_weights()])
    flipped = attack(net, images, labels) - images
    assert not np.array_equal(delta, flipped)


def test_tensors_come_back_as_tensors_without_a_graph(conv, images, labels):
    x, y = ops.convert_to_tensor(images), ops.convert_to_tensor(labels)
    x_adv = PGD(steps=2)(conv, x, y)
    assert ops.is_tensor(x_adv)
    # Only torch's tensors have these attributes.
    assert not getattr(x_adv, "requires_grad", False)
    assert getattr(x, "grad", None) is None
    for variable in conv.variables:
        assert getattr(variable.value, "grad", None) is None


def test_perturb_hands_out_no_graph(conv, images):
    x = ops.convert_to_tensor(images)
    x_adv = PGD(steps=1).perturb(conv, x, lambda logits: logits[:, 0], seed=0)
    assert not getattr(x_adv, "requires_grad", False)
    assert getattr(x_adv, "grad_fn", None) is None


def test_run_counts_and_judges(linear, images, labels):
    attack = PGD(epsilon=0.5, step_size=0.25, steps=3, start="clean")
    result = attack.run(linear, images, labels)
    predicted = ops.convert_to_numpy(linear(result.x_adv)).argmax(-1)
    np.testing.assert_array_equal(result.success, predicted != labels)
    assert result.success.any()
    for counts, wanted in (
        (result.queries, 3),
        (result.forwards, 4),
        (result.backwards, 3),
    ):
        np.testing.assert_array_equal(counts, np.full(5, wanted))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x: (x * 255).astype("uint8"), "255"),
        (lambda x: x * 255, "Scale them"),
        (lambda x: x - 0.5, "Scale them"),
        (lambda x: np.where(x == x[2, 1, 1, 1], np.nan, x), "finite.*index 2"),
        (lambda x: np.where(x == x[3, 1, 1, 1], np.inf, x), "finite.*index 3"),
    ],
    ids=["uint8", "0..255", "negative", "nan", "inf"],
)
def test_bad_images(change, message, linear, images, labels):
    with pytest.raises(ValueError, match=message):
        fgsm()(linear, change(images), labels)


@pytest.mark.parametrize(
    "bad",
    [[0, 1], [0.0, 1.0, 2.0, 0.0, 1.0], np.eye(5, 3)],
    ids=["too few", "float", "not one-hot"],
)
def test_bad_labels(bad, linear, images):
    with pytest.raises(ValueError, match="integer labels, one per image"):
        fgsm()(linear, images, np.asarray(bad))


@pytest.mark.parametrize("label", [-1, CLASSES])
def test_labels_that_are_no_class(label, linear, images):
    with pytest.raises(ValueError, match=f"0 .. {CLASSES - 1}.*{label}"):
        fgsm()(linear, images, np.array([0, 1, 2, 0, label]))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"epsilon": -0.1}, "epsilon.*-0.1"),
        ({"epsilon": float("nan")}, "epsilon.*nan"),
        ({"epsilon": float("inf")}, "epsilon.*inf"),
        ({"step_size": -1}, "step_size.*-1"),
        ({"steps": -1}, "steps.*-1"),
        ({"steps": 2.5}, "steps.*2.5"),
        ({"start": "gauss"}, "gaussian_clipped.*'gauss'"),
        ({"loss": "bce"}, "loss.*dlr.*'bce'"),
        ({"kappa": -1}, "kappa.*-1"),
        ({"norm": "l1"}, "norm.*l2.*'l1'"),
        ({"restarts": 0}, "restarts.*>= 1.*0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        PGD(**arguments)


def test_papers_settings():
    def settings(attack):
        config = attack.get_config()
        return config["epsilon"], config["step_size"], config["steps"], config["start"]

    assert settings(PGD()) == (8 / 255, 2 / 255, 10, None)
    assert settings(fgsm()) == (8 / 255, 8 / 255, 1, "clean")
    assert settings(pgd_sat()) == (8 / 255, 2 / 255, 20, "uniform_clipped")
    assert settings(pgd_trades()) == (8 / 255, 0.003, 20, "uniform_clipped")
    assert settings(cw_inf()) == (8 / 255, 2 / 255, 30, "uniform_clipped")
    assert (cw_inf().loss, cw_inf().kappa) == ("cw", 50)


def test_own_start_is_kept_in_the_config():
    config = keras.saving.serialize_keras_object(PGD(start=brighter))
    assert keras.saving.deserialize_keras_object(config).start is brighter


@pytest.mark.parametrize("name", LOSSES)
def test_chosen_loss_grows(name, linear, images, labels):
    def values(x):
        logits = linear(ops.convert_to_tensor(x), training=False)
        return ops.convert_to_numpy(LOSSES[name](ops.convert_to_tensor(labels), logits))

    images = 0.1 + 0.8 * images
    x_adv = PGD(steps=3, start="clean", loss=name)(linear, images, labels)
    after = values(x_adv)
    # With three classes, the ratio of a logit that is the lowest is 1 and stays so.
    at_its_end = (after > 1 - 1e-6) & (name == "dlr")
    assert ((after > values(images)) | at_its_end).all()


def test_cw_rests_where_the_margin_is_below_kappa(linear, images):
    labels = ops.convert_to_numpy(linear(images)).argmin(axis=-1)
    x_adv = PGD(steps=2, start="clean", loss="cw", kappa=0)(linear, images, labels)
    np.testing.assert_array_equal(x_adv, images)
    x_adv = PGD(steps=2, start="clean", loss="cw")(linear, images, labels)
    assert (x_adv != images).any(axis=(1, 2, 3)).all()


def test_losses_do_not_share_what_was_compiled(linear, images, labels):
    seen = {
        PGD(0.3, step_size=0.1, steps=1, start="clean", loss="cw", kappa=kappa)(
            linear, images, labels
        ).sum()
        for kappa in (0.0, 50.0)
    }
    assert len(seen) == 2


@pytest.mark.parametrize("start", STARTS)
def test_l2_stays_in_its_ball(start, conv, images, labels):
    attack = PGD(0.5, step_size=0.2, steps=4, start=start, norm="l2")
    delta = (attack(conv, images, labels) - images).reshape(5, -1)
    lengths = np.linalg.norm(delta, axis=1)
    assert (lengths <= 0.5 + 1e-5).all() and (lengths > 0.2).all()


def test_l2_step_follows_the_gradient(linear, images, labels):
    images = 0.4 + 0.2 * images
    kernel, _ = linear.get_weights()
    x_adv = PGD(0.1, step_size=0.1, steps=1, start="clean", norm="l2", loss="margin")(
        linear, images, labels
    )
    logits = ops.convert_to_numpy(linear(images))
    logits[np.arange(5), labels] = -np.inf
    direction = (kernel[:, logits.argmax(-1)] - kernel[:, labels]).T
    wanted = 0.1 * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    np.testing.assert_allclose(
        (x_adv - images).reshape(5, -1), wanted, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_constant_network_keeps_the_clean_start(norm, images, labels):
    net = keras.Sequential([layers.Input(SHAPE), layers.Flatten()])
    net.add(layers.Dense(CLASSES, kernel_initializer="zeros"))
    x_adv = PGD(0.5, step_size=0.1, steps=2, start="clean", norm=norm)(
        net, images, labels
    )
    np.testing.assert_array_equal(x_adv, images)


def test_restarts_attack_what_is_left_and_keep_what_fooled(conv, images, labels):
    once = PGD(0.2, step_size=0.05, steps=1, start="uniform_clipped")
    many = PGD(0.2, step_size=0.05, steps=1, start="uniform_clipped", restarts=6)
    labels = ops.convert_to_numpy(conv(images)).argmax(-1)
    labels[0] = (labels[0] + 1) % CLASSES
    first, best = (attack.run(conv, images, labels) for attack in (once, many))
    assert first.success[0] and (best.success >= first.success).all()
    np.testing.assert_array_equal(best.x_adv[first.success], first.x_adv[first.success])
    assert (best.backwards[first.success] == 1).all()
    assert (best.backwards[~best.success] == 6).all()
    # The result of one restart, then of all; that of the last one is that of all.
    wanted = 2 * best.backwards + (best.backwards < 6)
    np.testing.assert_array_equal(best.forwards, wanted)


class Counted(keras.Model):
    """A network that counts how often Python runs through it."""

    def __init__(self):
        super().__init__()
        self.flatten, self.head = layers.Flatten(), layers.Dense(CLASSES)
        self.traces = 0

    def call(self, images):
        self.traces += 1
        return self.head(self.flatten(images))


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="torch runs Python at each step"
)
def test_neither_seed_nor_radius_nor_steps_compile_again(images, labels):
    model = Counted()
    # What several attacks share; a model that is given itself is looked at anew.
    shared = Classifier.of(model, images)
    PGD(start="uniform_clipped").run(shared, images, labels)
    traces = model.traces
    PGD(start="uniform_clipped").run(shared, images, labels, seed=1)
    pgd_sat(epsilon=0.2, step_size=0.1, steps=7).run(shared, images, labels, seed=2)
    fgsm().run(shared, images[:5], labels[:5])
    assert model.traces == traces


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_evaluation_on_an_accelerator_loops_alike(
    norm, conv, images, labels, monkeypatch
):
    attack = PGD(0.3, step_size=0.1, steps=4, start="uniform", norm=norm)
    results = []
    for on_cpu in (True, False):
        monkeypatch.setattr("kmtard.backend.on_cpu", lambda answer=on_cpu: answer)
        results.append(attack(conv, images, labels))
    np.testing.assert_allclose(*results, atol=1e-6)


def own_loss(labels, logits):
    """Return the margin, as another function."""
    return -kmtard.losses.margin(labels, logits)


@pytest.mark.parametrize("kind", [PGD, APGD])
def test_own_loss_is_maximized(kind):
    model = keras.Sequential(
        [layers.Input((3, 3, 1)), layers.Flatten(), layers.Dense(4)]
    )
    random = np.random.default_rng(0)
    model.set_weights([random.normal(0, 1, (9, 4)), np.zeros(4)])
    x = random.random((16, 3, 3, 1), "float32")
    y = ops.convert_to_numpy(model(x)).argmax(-1)
    attack = kind(0.1, steps=4, loss=own_loss, start="clean")
    found = attack.run(model, x, y)
    assert 0 < found.success.sum() < len(x)
    if kind is PGD:
        wanted = PGD(0.1, steps=4, loss="margin", start="clean")(model, x, y)
        np.testing.assert_allclose(found.x_adv, wanted, atol=1e-6)
    # Its loss is smaller for a class to reach.
    aim = (y + 1) % 4
    result = attack.run(model, x, aim, targeted=True, epsilons=np.full(16, 0.9))
    assert result.success.any()
    other = kind(0.1, steps=4, loss=lambda y, z: 0 * z[:, 0], start="clean")
    assert not other.run(model, x, y).success.any()
    with pytest.raises(ValueError, match="or a function. Received: 'hinge'"):
        kind(loss="hinge")


def test_own_loss_identifies_the_attack():
    def other_loss(labels, logits):
        return kmtard.losses.margin(labels, logits)

    found = [settings_of(PGD(loss=loss))["loss"] for loss in (own_loss, other_loss)]
    assert "own_loss" in found[0] and found[0] != found[1]
    assert settings_of(PGD())["loss"] == "ce"
