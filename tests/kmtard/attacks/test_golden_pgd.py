"""Every iterate of the inner maximisation against the authors' numbers."""

import re

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard import losses
from kmtard.attacks import PGD, pgd_trades
from kmtard.methods.natural import Natural
from kmtard.methods.trades import TRADES

pytestmark = pytest.mark.golden("methods/pgd_*.npz")
RADII = {"trades_kl_orig": {"epsilon": 0.031, "step_size": 0.007}}
"""Settings that differ from the file's `eps` and `step`."""


def student_of(golden):
    weights = [golden[f"student_{name}"] for name in ("W1", "b1", "W2", "b2")]
    student = keras.Sequential(
        [
            layers.Input(golden["x"].shape[1:]),
            layers.Flatten(),
            layers.Dense(weights[0].shape[1], activation="relu"),
            layers.Dense(weights[2].shape[1]),
        ]
    )
    student.set_weights(weights)
    return student


def trades_kl(golden, student, x, y):
    return TRADES(student).inner_loss(x, y)


def cross_entropy(golden, student, x, y):
    return Natural(student).inner_loss(x, y)


def rslad_kl(golden, student, x, y):
    teacher = ops.convert_to_tensor(golden["teacher_logits_nat"].astype("float32"))
    return lambda logits: losses.kl_divergence(teacher, logits)


def score_lse(golden, student, x, y):
    reference = ops.softmax(student(x))
    return lambda logits: ops.sum((ops.softmax(logits) - reference) ** 2, axis=-1)


OBJECTIVES = {
    "bmtard_ce": cross_entropy,
    "sat_ce": cross_entropy,
    "ard_ce": cross_entropy,
    "trades_kl": trades_kl,
    "trades_kl_orig": trades_kl,
    "rslad_kl": rslad_kl,
    "score_lse": score_lse,
}


def crafted(golden, objective, start, **settings):
    student = student_of(golden)
    x = ops.convert_to_tensor(golden["x"].astype("float32"))
    y = ops.convert_to_tensor(golden["labels"].astype("int32"))
    start = ops.convert_to_tensor(start.astype("float32"))
    attack = PGD(start=lambda _: start, **settings)
    x_adv = attack.perturb(
        lambda images: student(images, training=False),
        x,
        objective(golden, student, x, y),
    )
    return ops.convert_to_numpy(x_adv)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_iterates(golden, name):
    if f"xadv_{name}" not in golden:
        pytest.skip(f"no {name} in this file")
    iterates = golden[f"xadv_{name}"]
    x_adv = iterates[0]
    radius = {"epsilon": float(golden["eps"]), "step_size": float(golden["step"])}
    radius |= RADII.get(name, {})
    for steps, wanted in enumerate(iterates[1:], start=1):
        x_adv = crafted(golden, OBJECTIVES[name], x_adv, steps=1, **radius)
        np.testing.assert_allclose(
            x_adv, wanted, rtol=0, atol=1e-5, err_msg=f"after {steps} steps"
        )


@pytest.mark.parametrize("unroll", [True, False])
def test_all_steps_in_one_call(golden, unroll):
    iterates = golden["xadv_bmtard_ce"]
    x_adv = crafted(
        golden,
        cross_entropy,
        iterates[0],
        epsilon=float(golden["eps"]),
        step_size=float(golden["step"]),
        steps=len(iterates) - 1,
        unroll=unroll,
    )
    np.testing.assert_allclose(x_adv, iterates[-1], rtol=0, atol=1e-5)


def test_evaluation_attack(golden):
    start = np.clip(golden["x"] + golden["noise_uniform"], 0, 1)
    settings = pgd_trades(epsilon=float(golden["eps"])).get_config()
    assert settings.pop("start") == "uniform_clipped"
    for key, wanted in golden.items():
        if match := re.fullmatch(r"xadv_eval_pgd_trades_step(\d+)", key):
            settings["steps"] = int(match[1])
            x_adv = crafted(golden, cross_entropy, start, **settings)
            np.testing.assert_allclose(x_adv, wanted, rtol=0, atol=1e-5, err_msg=key)


def test_defaults_are_the_files(golden):
    attack = PGD()
    assert attack.epsilon == pytest.approx(golden["eps"], rel=1e-12)
    assert attack.step_size == pytest.approx(golden["step"], rel=1e-12)
    assert attack.steps == len(golden["xadv_bmtard_ce"]) - 1
    assert attack.start == "gaussian"
