"""FGSM, PGD, CW_inf and transfer against the authors' code."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
from keras import ops

from kmtard.attacks.gradient import PGD, cw_inf, fgsm, pgd_sat, pgd_trades
from kmtard.attacks.transfer import Transfer

ATTACKS = {"fgsm": fgsm, "pgd_sat": pgd_sat, "pgd_trades": pgd_trades, "cw_inf": cw_inf}
DETERMINISTIC = ["fgsm", "pgd_sat", "pgd_trades", "cw_inf"] + [
    f"{name}_scaled" for name in ("pgd_sat", "pgd_trades", "cw_inf")
]
# PyTorch's convolutions round otherwise; near zero a gradient's sign depends on it.
SHARE = 0.99 if keras.backend.backend() == "torch" else 1.0
REFERENCE_EPSILON = 8 / 255


def made(net, name, start):
    """Return the attack of a golden name, from this start."""
    base, _, scaled = name.partition("_scaled")
    config = ATTACKS[base](epsilon=net.epsilon).get_config()
    if name.endswith("_scaled"):
        config["step_size"] *= net.epsilon / REFERENCE_EPSILON
    return PGD(**{**config, "start": start})


def run(net, attack, **kwargs):
    # One batch: a start that is an array has its size.
    return attack.run(net.model, net.x, net.y, batch_size=len(net.x), **kwargs)


def same(x_adv, wanted):
    """Share of images equal to 1e-5 in every pixel."""
    different = np.abs(x_adv - wanted) > 1e-5
    return 1 - different.reshape(len(wanted), -1).any(axis=1).mean()


def test_logits(golden_net):
    logits = ops.convert_to_numpy(golden_net.model(golden_net.x))
    wanted = golden_net.wanted("model", "logits_test")
    # Float32 rounds where large numbers cancel: relative to the largest logit.
    atol = 1e-6 * max(10, np.abs(wanted).max())
    np.testing.assert_allclose(logits, wanted, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_deterministic_attack_is_the_float64_one(golden_net, name):
    wanted = golden_net.wanted("det64", name)
    result = run(golden_net, made(golden_net, name, "clean"))
    assert same(result.x_adv, wanted) >= SHARE
    flags = golden_net.arrays("f64_agreement").get(f"correct_f64_{name}")
    if flags is not None:
        assert np.mean(~result.success == flags) >= SHARE


@pytest.mark.parametrize("name", ["pgd_sat", "pgd_trades"])
def test_stored_random_start(golden_net, name):
    start = golden_net.wanted("adv", "x0_rs")
    wanted = golden_net.wanted("robust_masks", f"{name}_rs")
    attack = made(golden_net, name, lambda _: ops.convert_to_tensor(start))
    result = run(golden_net, attack)
    clean = golden_net.wanted("robust_masks", "clean_correct")
    robust = ~result.success & clean
    agreement = np.mean(robust == wanted)
    # These targets are float32: their plain cross-entropy has noise in its signs.
    assert agreement >= 0.98
    assert abs(robust.mean() - wanted.mean()) <= 0.01
    if (images := golden_net.arrays("det64").get(f"{name}_rs")) is not None:
        assert same(result.x_adv, images) >= SHARE


@pytest.mark.parametrize("name", ["pgd_sat_scaled", "cw_inf_scaled"])
def test_random_starts(golden_net, name):
    golden = golden_net.results["attacks"].get(f"{name}_seeds")
    if golden is None:
        pytest.skip(f"no {name}_seeds in {golden_net.prefix}_results.json")
    attack = made(golden_net, name, "uniform_clipped")
    clean = golden_net.wanted("robust_masks", "clean_correct")
    robust = [~run(golden_net, attack, seed=s).success & clean for s in range(3)]
    # One image more than the 0.01 may fall either way in a small set.
    assert np.mean(robust) == pytest.approx(
        golden["mean"], abs=0.01 + 1 / len(golden_net.x)
    )


def test_transfer(golden_net):
    checked = 0
    for key, wanted in golden_net.all_results.get("transfer_acc_on_adv", {}).items():
        name, surrogate, target = re.fullmatch(
            r"(.+): surrogate=(.+) -> target=(.+)", key
        ).groups()
        if surrogate != golden_net.name:
            continue
        attack = Transfer(made(golden_net, name, "clean"), surrogate=golden_net.model)
        target = golden_net.other(target)
        accuracy = np.mean(~run(target, attack).success)
        # Torch may differ in one image of a hundred.
        assert accuracy == pytest.approx(wanted, abs=1e-6 if SHARE == 1 else 0.01), key
        checked += 1
    if not checked:
        pytest.skip(f"no transfer from {golden_net.name}")
