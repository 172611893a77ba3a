"""BatchNorm in training mode while attacking, as the code of SAT and ARD has it."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import kmtard
from kmtard import losses
from kmtard.optimizers import L2SGD

EAGER = pytest.mark.parametrize("eager", [False, True], ids=["compiled", "eager"])
BN_NAMES = ("gamma", "beta", "moving_mean", "moving_var")


class SAT(kmtard.AdversarialModel):
    passes = ("adv",)

    def outer_loss(self, batch, logits):
        return losses.cross_entropy(batch.y, logits.adv[-1])


class StoredStart:
    """The clipped start that belongs to a batch, found by the batch's own pixels."""

    def __init__(self, x, noise):
        self.x = x.astype("float32")
        self.start = np.clip(x + noise, 0, 1).astype("float32")

    def __call__(self, x):
        batches, starts = map(ops.convert_to_tensor, (self.x, self.start))
        distance = ops.max(ops.abs(batches - x[None]), axis=(1, 2, 3, 4))
        return ops.take(starts, ops.argmin(distance), axis=0)


def normalised(shape, classes):
    """Return a network whose BatchNorm sees the images themselves."""
    return keras.Sequential(
        [
            layers.Input(shape),
            layers.BatchNormalization(momentum=0.9),
            layers.Flatten(),
            layers.Dense(classes),
        ]
    )


def golden_student(golden):
    norm = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    student = keras.Sequential(
        [
            layers.Input(golden["x"].shape[2:]),
            layers.Flatten(),
            layers.Dense(golden["init_W1"].shape[1]),
            norm,
            layers.ReLU(),
            layers.Dense(golden["init_W2"].shape[1]),
        ]
    )
    names = ("W1", "b1", *BN_NAMES, "W2", "b2")
    student.set_weights([golden[f"init_{name}"] for name in names])
    return student, dict(zip(names, student.weights, strict=True))


@pytest.mark.golden("methods/steps_bn_*.npz")
@EAGER
def test_sat_golden_steps(golden, eager):
    if "sat__keras__loss" not in golden:
        pytest.skip("no SAT in this file")
    student, weights = golden_student(golden)
    start = StoredStart(golden["x"], golden["noise_uniform"])
    model = SAT(student, attack=kmtard.attacks.PGD(start=start), attack_bn="train")
    model.compile(L2SGD(0.1, momentum=0.9, weight_decay=2e-4), run_eagerly=eager)
    for step, x in enumerate(golden["x"]):
        model.reset_metrics()
        logs = model.train_on_batch(
            x.astype("float32"), golden["labels"][step], return_dict=True
        )
        wanted = golden["sat__keras__loss"][step]
        assert logs["loss"] == pytest.approx(wanted, rel=1e-5)
        for name, variable in weights.items():
            np.testing.assert_allclose(
                ops.convert_to_numpy(variable),
                golden[f"sat__keras__{name}"][step],
                atol=1e-5,
                rtol=1e-5,
                err_msg=f"{name}, step {step}",
            )


@EAGER
@pytest.mark.parametrize(
    "attack_bn, unroll, updates",
    [("train", True, 4), ("train", False, 4), ("eval", None, 1)],
)
def test_averages_move_once_a_pass(attack_bn, updates, unroll, eager):
    x = np.random.default_rng(0).random((8, 2, 2, 3), "float32")
    student = normalised((2, 2, 3), 4)
    # With epsilon 0 every pass sees the clean images.
    attack = kmtard.attacks.PGD(epsilon=0, steps=3, start="clean", unroll=unroll)
    model = SAT(student, attack=attack, attack_bn=attack_bn)
    model.compile(L2SGD(0.1), run_eagerly=eager)
    model.train_on_batch(x, np.arange(8) % 4)
    norm = student.layers[0]
    left = 0.9**updates
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(
        ops.convert_to_numpy(norm.moving_mean), (1 - left) * mean, rtol=1e-5
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(norm.moving_variance),
        left + (1 - left) * variance,
        rtol=1e-5,
    )


def test_evaluation_moves_nothing():
    x = np.random.default_rng(0).random((8, 2, 2, 3), "float32")
    student = normalised((2, 2, 3), 4)
    evaluation = kmtard.attacks.PGD(steps=1)
    model = SAT(student, evaluation_attack=evaluation, attack_bn="train")
    model.compile(L2SGD(0.1))
    before = student.get_weights()
    model.test_on_batch(x, np.arange(8) % 4)
    for old, new in zip(before, student.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_unknown_mode():
    with pytest.raises(ValueError, match='"eval" or "train".*frozen'):
        SAT(normalised((2, 2, 3), 4), attack_bn="frozen")
