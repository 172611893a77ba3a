"""Every iterate of the inner maximisation against the authors' numbers."""

import re

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard.attacks import PGD, pgd_trades
from kmtard.methods.absld import ABSLD
from kmtard.methods.ard import ARD
from kmtard.methods.batch import Batch
from kmtard.methods.fair_ard import FairARD
from kmtard.methods.iad import IAD
from kmtard.methods.lmtn import LMTN
from kmtard.methods.multi_teacher import MultiTeacherDistiller
from kmtard.methods.natural import Natural
from kmtard.methods.rslad import RSLAD
from kmtard.methods.sat import SAT
from kmtard.methods.score import SCORE
from kmtard.methods.trades import TRADES

pytestmark = pytest.mark.golden("methods/pgd_*.npz")
RADII = {"trades_kl_orig": {"epsilon": 0.031, "step_size": 0.007}}
"""Settings that differ from the file's `eps` and `step`."""


METHODS = {
    "bmtard_ce": (MultiTeacherDistiller, LMTN, Natural),
    "sat_ce": (SAT,),
    "ard_ce": (ARD, FairARD, IAD),
    "trades_kl": (TRADES,),
    "trades_kl_orig": (TRADES,),
    "rslad_kl": (RSLAD, ABSLD),
    "score_lse": (SCORE,),
}
"""Name in the file -> the methods whose attack that is."""


def network(golden, prefix):
    weights = [golden[f"{prefix}_{name}"] for name in ("W1", "b1", "W2", "b2")]
    made = keras.Sequential(
        [
            layers.Input(golden["x"].shape[1:]),
            layers.Flatten(),
            layers.Dense(weights[0].shape[1], activation="relu"),
            layers.Dense(weights[2].shape[1]),
        ]
    )
    made.set_weights(weights)
    return made


def build(golden, method):
    """Return a method whose teachers all are the file's."""
    networks = [network(golden, "student")]
    while True:
        try:
            return method(*networks, attack_bn="eval")
        except TypeError:
            networks.append(network(golden, "teacher"))


def crafted(golden, method, start, **settings):
    model = build(golden, method)
    x = ops.convert_to_tensor(golden["x"].astype("float32"))
    y = ops.convert_to_tensor(golden["labels"].astype("int32"))
    start = ops.convert_to_tensor(start.astype("float32"))
    attack = PGD(start=lambda _: start, **settings)
    batch = Batch(x, x, y, None, True, model.target(x))
    x_adv = attack.perturb(
        lambda images: model.observe(images, training=False),
        x,
        model.inner_loss(batch),
        state=model.student.variables + model.attack_state
        if model.attack_state
        else (),
    )
    return ops.convert_to_numpy(x_adv), model


@pytest.mark.parametrize("name", METHODS)
def test_iterates(golden, name):
    if f"xadv_{name}" not in golden:
        pytest.skip(f"no {name} in this file")
    iterates = golden[f"xadv_{name}"]
    radius = {"epsilon": float(golden["eps"]), "step_size": float(golden["step"])}
    radius |= RADII.get(name, {})
    for method in METHODS[name]:
        x_adv = iterates[0]
        for steps, wanted in enumerate(iterates[1:], start=1):
            x_adv, _ = crafted(golden, method, x_adv, steps=1, **radius)
            np.testing.assert_allclose(
                x_adv, wanted, rtol=0, atol=1e-5, err_msg=f"{method}, step {steps}"
            )


@pytest.mark.parametrize("name", METHODS)
def test_all_steps_in_one_call(golden, name):
    if f"xadv_{name}" not in golden:
        pytest.skip(f"no {name} in this file")
    iterates = golden[f"xadv_{name}"]
    radius = {"epsilon": float(golden["eps"]), "step_size": float(golden["step"])}
    radius |= RADII.get(name, {})
    for unroll in (True, False):
        x_adv, _ = crafted(
            golden,
            METHODS[name][0],
            iterates[0],
            steps=len(iterates) - 1,
            unroll=unroll,
            **radius,
        )
        np.testing.assert_allclose(x_adv, iterates[-1], rtol=0, atol=1e-5)


def test_starts_are_the_files(golden):
    noise = {"gaussian": "noise_gauss", "uniform": "noise_uniform"}
    for name, methods in METHODS.items():
        if f"xadv_{name}" not in golden:
            continue
        for method in methods:
            kind, _, clipped = build(golden, method).attack.start.partition("_")
            start = golden["x"] + golden[noise[kind]]
            start = np.clip(start, 0, 1) if clipped else start
            np.testing.assert_allclose(
                start, golden[f"xadv_{name}"][0], atol=1e-12, err_msg=f"{method}"
            )


def test_fair_ard_counts_the_steps_that_images_withstand(golden):
    if "fair_kappa_counts" not in golden:
        pytest.skip("no counts in this file")
    iterates = golden["xadv_ard_ce"]
    _, model = crafted(
        golden,
        FairARD,
        iterates[0],
        epsilon=float(golden["eps"]),
        step_size=float(golden["step"]),
        steps=len(iterates) - 1,
    )
    wanted = np.bincount(
        golden["labels"], golden["fair_kappa_counts"], model.class_weights.shape[0]
    )
    found = ops.convert_to_numpy(model.robust_steps.value)
    np.testing.assert_array_equal(found, wanted)


def test_every_attack_of_the_file_is_known(golden):
    names = {key.removeprefix("xadv_") for key in golden if key.startswith("xadv_")}
    assert {name for name in names if not name.startswith("eval_")} <= set(METHODS)


def test_evaluation_attack(golden):
    start = np.clip(golden["x"] + golden["noise_uniform"], 0, 1)
    settings = pgd_trades(epsilon=float(golden["eps"])).get_config()
    assert settings.pop("start") == "uniform_clipped"
    for key, wanted in golden.items():
        if match := re.fullmatch(r"xadv_eval_pgd_trades_step(\d+)", key):
            settings["steps"] = int(match[1])
            x_adv, _ = crafted(golden, Natural, start, **settings)
            np.testing.assert_allclose(x_adv, wanted, rtol=0, atol=1e-5, err_msg=key)


def test_defaults_are_the_files(golden):
    attack = PGD()
    assert attack.epsilon == pytest.approx(golden["eps"], rel=1e-12)
    assert attack.step_size == pytest.approx(golden["step"], rel=1e-12)
    assert attack.steps == len(golden["xadv_bmtard_ce"]) - 1
