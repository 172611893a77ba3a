"""Properties of APGD on any network."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard.attacks import ascent
from kmtard.attacks.apgd import APGD, apgd_ce, apgd_dlr, apgd_t

# The golden tests run with TensorFlow too; there, these are a long proof.
pytestmark = pytest.mark.quick("jax", "torch")

EPSILON = 0.1
SHAPE = (4, 4, 2)
STEPS = 12
LOSSES = {
    "ce": {},
    "dlr": {"loss": "dlr"},
    "targeted": {"loss": "dlr", "targets": 9},
}


def dense(classes, seed=1, scale=1.0):
    keras.utils.set_random_seed(seed)
    net = keras.Sequential([layers.Input(SHAPE), layers.Flatten()])
    net.add(layers.Dense(classes))
    net.set_weights([scale * weight for weight in net.get_weights()])
    return net


@pytest.fixture(scope="module")
def net():
    """Return one net for all, so that what is compiled for it is used again."""
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            layers.Input(SHAPE),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(5),
        ]
    )


def predicted(net, x):
    return ops.convert_to_numpy(net(x)).argmax(-1)


@pytest.fixture
def images():
    x = np.random.default_rng(4).random((13, *SHAPE), "float32")
    x[0], x[1] = 0, 1
    return x


def test_images_that_nothing_was_found_for_come_back_clean(net, images):
    y = predicted(net, images)
    y[3] = (y[3] + 1) % 5
    result = APGD(EPSILON, steps=STEPS).run(net, images, y)
    assert 1 < result.success.sum() < len(images)
    kept = ~result.success
    kept[3] = True
    np.testing.assert_array_equal(result.x_adv[kept], images[kept])


@pytest.mark.parametrize("classes", [2, 3, 4, 9, 100])
@pytest.mark.parametrize("loss", ["dlr", "targeted"])
def test_any_number_of_classes(loss, classes, images):
    net = dense(classes)
    result = APGD(1.0, steps=5, **LOSSES[loss]).run(net, images, predicted(net, images))
    assert np.isfinite(result.x_adv).all()
    assert result.success.mean() > 0.9


@pytest.mark.parametrize("norm, dual", [("linf", 1), ("l2", 2)])
def test_finds_exactly_what_a_linear_model_allows(norm, dual):
    """Two classes: an image falls if its margin is below epsilon times |w|."""
    net, radius = dense(2), 0.05
    x = 0.4 + 0.2 * np.random.default_rng(5).random((64, *SHAPE), "float32")
    y = predicted(net, x)
    kernel = np.diff(net.get_weights()[0], axis=1)[:, 0]
    margin = np.abs(np.diff(ops.convert_to_numpy(net(x)), axis=1)[:, 0])
    radii = margin / np.linalg.norm(kernel, dual)
    radius = float(np.median(radii)) * 1.01
    result = APGD(radius, steps=20, norm=norm).run(net, x, y)
    sure = np.abs(radii / radius - 1) > 1e-3
    assert sure.sum() > 60
    np.testing.assert_array_equal(result.success[sure], (radii < radius)[sure])


def test_finds_what_a_linear_model_allows_in_l1():
    """The best change fills the pixels of the largest weights up to the box."""
    net, radius = dense(2), 1.0
    x = np.random.default_rng(5).random((64, *SHAPE), "float32")
    y = predicted(net, x)
    kernel = np.diff(net.get_weights()[0], axis=1)[:, 0] * np.where(y, -1, 1)[:, None]
    order = np.argsort(-np.abs(kernel), axis=1)
    flat = x.reshape(64, -1)
    room = np.take_along_axis(np.where(kernel > 0, 1 - flat, flat), order, axis=1)
    filled = np.minimum(np.cumsum(room, axis=1), radius)
    moved = np.diff(filled, axis=1, prepend=0)
    gain = (moved * np.take_along_axis(np.abs(kernel), order, axis=1)).sum(axis=1)
    margin = np.abs(np.diff(ops.convert_to_numpy(net(x)), axis=1)[:, 0])
    result = APGD(radius, norm="l1", larger_radii=True).run(net, x, y)
    assert 10 < result.success.sum() < 54
    assert not result.success[margin > 1.001 * gain].any()
    assert result.success[margin < 0.95 * gain].all()


def test_early_stop_changes_no_flag_and_costs_less(net, images):
    y = predicted(net, images)
    full = APGD(EPSILON, steps=40, early_stop=False).run(net, images, y)
    early = APGD(EPSILON, steps=40).run(net, images, y)
    np.testing.assert_array_equal(full.success, early.success)
    assert 0 < early.success.sum() < len(images)
    assert (early.backwards < full.backwards)[early.success].any()
    np.testing.assert_array_equal(full.backwards, 41)
    np.testing.assert_array_equal(full.forwards, 43)
    np.testing.assert_array_equal(early.backwards[~early.success], 41)


def test_restarts_only_add(net, images):
    y = predicted(net, images)
    one, three = (APGD(0.05, steps=3, restarts=r).run(net, images, y) for r in (1, 3))
    assert (three.success >= one.success).all()
    np.testing.assert_array_equal(three.x_adv[one.success], one.x_adv[one.success])
    assert (three.backwards[~three.success] == 3 * 4).all()


def test_wrong_images_are_left_alone(net, images):
    y = (predicted(net, images) + 1) % 5
    result = APGD(EPSILON, steps=STEPS, **LOSSES["targeted"]).run(net, images, y)
    np.testing.assert_array_equal(result.x_adv, images)
    assert result.success.all()
    np.testing.assert_array_equal(result.forwards, 2)
    np.testing.assert_array_equal(result.backwards, 0)


@pytest.mark.parametrize("loss", LOSSES)
def test_constant_network(loss, images):
    net = dense(5, scale=0.0)
    result = APGD(EPSILON, steps=3, **LOSSES[loss]).run(net, images, np.zeros(13, int))
    assert not result.success.any()
    np.testing.assert_array_equal(result.x_adv, images)


@pytest.mark.parametrize("larger", [False, True])
def test_ball_and_box_in_l1(net, images, larger):
    y = predicted(net, images)
    attack = APGD(0.8, steps=STEPS, norm="l1", larger_radii=larger, early_stop=False)
    result = attack.run(net, images, y)
    moved = np.abs(result.x_adv - images).reshape(len(images), -1)
    assert moved.sum(axis=1).max() <= 0.8 + 1e-5
    assert result.x_adv.min() >= 0 and result.x_adv.max() <= 1
    assert 1 < result.success.sum() < len(images)
    np.testing.assert_array_equal(
        result.x_adv[~result.success], images[~result.success]
    )
    # One more point is evaluated at the start in each ball.
    np.testing.assert_array_equal(result.backwards, STEPS + (3 if larger else 1))


def test_perturbations_in_l1_are_sparse(net, images):
    y = predicted(net, images)
    found = APGD(1.0, steps=40, norm="l1", early_stop=False).run(net, images, y)
    changed = (found.x_adv != images).reshape(len(images), -1).mean(axis=1)
    assert 0 < np.median(changed[found.success]) < 0.5


def test_early_stop_in_l1_changes_no_flag_and_costs_less(net, images):
    y = predicted(net, images)
    settings = {"steps": 60, "norm": "l1", "larger_radii": True}
    full = APGD(0.8, early_stop=False, **settings).run(net, images, y)
    early = APGD(0.8, **settings).run(net, images, y)
    np.testing.assert_array_equal(full.success, early.success)
    assert 0 < early.success.sum() < len(images)
    assert (early.backwards < full.backwards)[early.success].any()
    # The larger balls are searched to the end.
    assert early.backwards.min() >= 2 * 18 + 3


def test_papers_settings_in_l1():
    larger = {"norm": "l1", "larger_radii": True}
    five = {**larger, "restarts": 5}
    made = [make(epsilon=12.0, norm="l1") for make in (apgd_ce, apgd_dlr, apgd_t)]
    wanted = [
        APGD(12.0, **five),
        APGD(12.0, loss="dlr", **five),
        APGD(12.0, loss="dlr", targets=5, **larger),
    ]
    assert [repr(each) for each in made] == [repr(each) for each in wanted]


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_zero_epsilon(net, norm, images):
    result = APGD(0.0, steps=3, norm=norm).run(net, images, predicted(net, images))
    assert not result.success.any()
    np.testing.assert_array_equal(result.x_adv, images)


def test_ties_go_to_the_first_class(images):
    """Classes 0 and 1 are equal everywhere, so 0 is predicted and 1 is always wrong."""
    net = dense(4)
    kernel, bias = net.get_weights()
    kernel[:, 1], bias[:] = kernel[:, 0], [5, 5, 0, 0]
    net.set_weights([kernel, bias])
    for label, fooled in ((0, False), (1, True)):
        y = np.full(13, label)
        for settings in LOSSES.values():
            result = APGD(0.01, steps=3, **settings).run(net, images, y)
            assert (result.success == fooled).all()
            assert np.isfinite(result.x_adv).all()


def test_logits_that_are_not_finite(images):
    net = dense(3)
    net.set_weights([np.full_like(w, np.nan) for w in net.get_weights()])
    with pytest.raises(ValueError, match="must be finite"):
        APGD(EPSILON, steps=2).run(net, images, np.zeros(13, int))


@pytest.mark.parametrize("policy", ["float16", "bfloat16"])
def test_half_precision(policy, images):
    with keras.DTypePolicy(policy) and keras.device("cpu:0"):
        net = keras.Sequential(
            [layers.Input(SHAPE), layers.Flatten(), layers.Dense(5, dtype=policy)]
        )
    result = APGD(1.0, steps=5, **LOSSES["dlr"]).run(
        net, images, predicted(net, images)
    )
    assert result.x_adv.dtype == "float32"
    assert result.success.all()


def state(**changes):
    """Return a search over three images of one pixel."""
    image, number = np.zeros((3, 1), "float32"), np.zeros(3, "float32")
    plain = ascent.Ascent(
        **dict.fromkeys(("u", "previous", "gradient", "best"), image),
        **dict.fromkeys(("best_gradient", "adversarial"), image),
        **dict.fromkeys(("loss", "inertia", "best_loss", "checked_loss"), number),
        step_size=number + 1,
        increases=number,
        **dict.fromkeys(("halved", "fooled"), number.astype(bool)),
    )
    changed = plain._replace(**{k: np.asarray(v) for k, v in changes.items()})
    return ascent.Ascent(*map(ops.convert_to_tensor, changed))


@pytest.mark.parametrize(
    "changes, halved",
    [
        # Three of four steps is not more than 0.75 of them; four are.
        ({"increases": [3, 4, 0], "best_loss": [1, 1, 1]}, [True, False, True]),
        # No better than at the last check, unless it was halved there.
        (
            {"increases": [4, 4, 4], "best_loss": [0, 0, 1], "halved": [0, 1, 0]},
            [True, False, False],
        ),
    ],
)
def test_check_halves(changes, halved):
    changes = {
        name: np.asarray(values, "bool" if name == "halved" else "float32")
        for name, values in changes.items()
    }
    best = np.full((3, 1), 7, "float32")
    after = ascent.check(state(best=best, **changes), 4.0, 0.75)
    np.testing.assert_array_equal(ops.convert_to_numpy(after.halved), halved)
    back = np.asarray(halved)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(after.step_size), np.where(back, 0.5, 1)
    )
    np.testing.assert_array_equal(
        ops.convert_to_numpy(after.u)[:, 0], np.where(back, 7, 0)
    )
    assert not ops.convert_to_numpy(after.increases).any()


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 20, 100, 1000])
def test_windows_fill_the_steps(steps):
    lengths = ascent.windows(steps)
    assert 1 <= sum(lengths) <= steps and min(lengths) >= 1
    assert steps - sum(lengths) < max(1, 0.06 * steps)
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize(
    "settings",
    [
        {"epsilon": -0.1},
        {"epsilon": float("nan")},
        {"epsilon": float("inf")},
        {"steps": 0},
        {"steps": 1.5},
        {"restarts": 0},
        {"loss": "mse"},
        {"loss": "dlr", "targets": -1},
        {"loss": "ce", "targets": 3},
        {"norm": "l0"},
        {"norm": "l2", "larger_radii": True},
        {"norm": "l1", "larger_radii": 1},
        {"rho": 1.5},
        {"eot": 0},
        {"start": "gaussian"},
    ],
    ids=str,
)
def test_bad_arguments(settings):
    name = list(settings)[-1]
    with pytest.raises(ValueError, match=f"`{name}` must be .*Received"):
        APGD(**settings)
