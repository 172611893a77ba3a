"""BatchNorm in training mode while attacking, as the code of SAT and ARD has it."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import kmtard
from kmtard.methods.sat import SAT
from kmtard.optimizers import L2SGD

EAGER = pytest.mark.parametrize("eager", [False, True], ids=["compiled", "eager"])


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
