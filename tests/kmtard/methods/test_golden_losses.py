"""Outer losses and their gradients against the authors' numbers."""

import re
from contextlib import nullcontext

import keras
import numpy as np
import pytest
from keras import layers, ops

import kmtard
from kmtard import backend, losses
from kmtard.methods.absld import ABSLD
from kmtard.methods.ard import ARD
from kmtard.methods.batch import Batch, Logits
from kmtard.methods.fair_ard import FairARD
from kmtard.methods.iad import IAD
from kmtard.methods.lmtn import LMTN
from kmtard.methods.natural import Natural
from kmtard.methods.rslad import RSLAD
from kmtard.methods.sat import SAT
from kmtard.methods.score import SCORE
from kmtard.methods.trades import TRADES

pytestmark = pytest.mark.golden("methods/losses_*.npz")
TWO_TEACHER = r"two_teacher_tau(\d+p?\d*)(?:_(\d+p?\d*))?_w(\d+p?\d*)(_scale10)?"


def double_precision():
    """Let JAX keep float64; the other backends do so unasked."""
    if keras.backend.backend() != "jax":
        return nullcontext()
    import jax

    return jax.enable_x64(True)


def cases(golden, pattern):
    """Return (name, parsed match) of the losses in the file; skip without any."""
    names = [key.removeprefix("loss__") for key in golden if key.startswith("loss__")]
    found = [(name, match) for name in names if (match := re.fullmatch(pattern, name))]
    if not found:
        pytest.skip(f"no loss {pattern!r} in this file")
    return found


def number(text):
    return float(text.replace("p", "."))


def two_teacher_options(match):
    """Return (nat_temperature, adv_temperature, nat_weight, scale)."""
    nat, adv, weight, scaled = match.groups()
    scale = 10.0 if scaled else 1.0
    return number(nat), number(adv or nat), number(weight), scale


def identity(classes):
    return keras.Sequential([layers.Input((classes,)), layers.Identity()])


def tensor(golden, name, dtype="float32"):
    return ops.convert_to_tensor(golden[name].astype(dtype))


def labels_of(golden):
    return ops.convert_to_tensor(golden["labels"].astype("int32"))


def mean(values):
    # `ops.mean` computes in float32 on some backends, also for float64.
    return ops.sum(values) / values.shape[0]


def check(golden, name, loss, dtype="float32", rtol=1e-5):
    """Compare `loss(s_nat, s_adv) -> (batch,)` and both gradients of its mean."""
    s_nat, s_adv = tensor(golden, "s_nat", dtype), tensor(golden, "s_adv", dtype)
    values = loss(s_nat, s_adv)
    assert values.shape == golden["labels"].shape
    assert float(mean(values)) == pytest.approx(golden[f"loss__{name}"], rel=rtol)
    functions = {
        "s_nat": (lambda s: mean(loss(s, s_adv)), s_nat),
        "s_adv": (lambda s: mean(loss(s_nat, s)), s_adv),
    }
    for logits, (function, at) in functions.items():
        gradient = ops.convert_to_numpy(backend.input_gradient(function, at))
        wanted = golden[f"grad_{logits}__{name}"]
        assert str(gradient.dtype) == dtype
        np.testing.assert_allclose(
            gradient,
            wanted,
            rtol=0,
            atol=rtol * np.abs(wanted).max(),
            err_msg=f"{name}, gradient on {logits}",
        )


def check_method(golden, name, model, x_nat=None, x_adv=None):
    """Compare a method whose teachers are identities: images stand for their logits."""
    target = None if x_nat is None else model.target(x_nat)
    batch = Batch(x_nat, x_adv, labels_of(golden), None, False, target)
    check(golden, name, lambda n, a: model.outer_loss(batch, Logits((n,), (a,))))


def test_natural(golden):
    for name, _ in cases(golden, "natural"):
        check_method(golden, name, Natural(identity(golden["s_nat"].shape[1])))


def test_trades(golden):
    for name, match in cases(golden, r"trades_beta(\d+p?\d*)"):
        student = identity(golden["s_nat"].shape[1])
        check_method(golden, name, TRADES(student, beta=number(match[1])))


def test_trades_default_beta_is_the_papers(golden):
    for name, _ in cases(golden, "trades_beta6"):
        check_method(golden, name, TRADES(identity(golden["s_nat"].shape[1])))


def networks(golden, count):
    return [identity(golden["s_nat"].shape[1]) for _ in range(count)]


def robust_teacher(golden):
    """Return the robust teacher's logits on (clean, adversarial) images."""
    return tensor(golden, "t_rob_nat"), tensor(golden, "t_rob_adv")


def test_sat(golden):
    for name, _ in cases(golden, "sat"):
        check_method(golden, name, SAT(*networks(golden, 1)))


def test_score(golden):
    pattern = r"score_lam(\d+p?\d*)_(?:clip(\d+p?\d*)|noclip)"
    for name, match in cases(golden, pattern):
        clip = number(match[2]) if match[2] else 0
        model = SCORE(*networks(golden, 1), beta=number(match[1]), clip=clip)
        check_method(golden, name, model)


def test_score_bound(golden):
    if "score_clip_bounds" not in golden:
        pytest.skip("no bounds in this file")
    classes = golden["s_nat"].shape[1]
    labels = labels_of(golden)
    for clip, bound in golden["score_clip_bounds"]:
        model = SCORE(*networks(golden, 1), beta=0.0, clip=clip)
        wrong = 50.0 * ops.one_hot((labels + 1) % classes, classes)
        batch = Batch(None, None, labels, None, training=False)
        loss = model.outer_loss(batch, Logits((wrong,), (wrong,)))
        np.testing.assert_allclose(ops.convert_to_numpy(2 - loss), bound, rtol=1e-5)


@pytest.mark.parametrize("method, prefix", [(ARD, "ard"), (FairARD, "fair_ard")])
def test_ard(golden, method, prefix):
    pattern = prefix + r"_tau(\d+p?\d*)_alpha(\d+p?\d*)"
    for name, match in cases(golden, pattern):
        model = method(
            *networks(golden, 2), temperature=number(match[1]), alpha=number(match[2])
        )
        if method is FairARD:
            model.class_weights.assign(golden["fair_weights"])
        check_method(golden, name, model, *robust_teacher(golden))


def test_ard_batch_mean_is_the_classes_times_larger(golden):
    batch = Batch(*robust_teacher(golden), labels_of(golden), None, training=False)
    logits = Logits((tensor(golden, "s_nat"),), (tensor(golden, "s_adv"),))
    element, whole = (
        ARD(*networks(golden, 2), ard_batchmean=flag).outer_loss(batch, logits)
        for flag in (False, True)
    )
    classes = golden["s_nat"].shape[1]
    np.testing.assert_allclose(
        ops.convert_to_numpy(whole), ops.convert_to_numpy(element) * classes, rtol=1e-5
    )


def test_iad(golden):
    pattern = r"iad1_(before|after)_begin(?:_alpha(\d+p?\d*)_tau(\d+p?\d*))?"
    for name, match in cases(golden, pattern):
        model = IAD(
            *networks(golden, 2),
            alpha=number(match[2] or "1"),
            temperature=number(match[3] or "1"),
        )
        model.introspect(match[1] == "after")
        check_method(golden, name, model, *robust_teacher(golden))


def test_rslad(golden):
    for name, _ in cases(golden, "rslad"):
        scale = float(golden["rslad_scale"])
        model = RSLAD(*networks(golden, 2), class_scale=scale)
        check_method(golden, name, model, *robust_teacher(golden))


def test_fair_rslad_is_rslad_weighted_by_class(golden):
    class FairRSLAD(RSLAD):
        def outer_loss(self, batch, logits):
            weights = ops.take(tensor(golden, "fair_weights"), batch.y)
            return weights * super().outer_loss(batch, logits)

    for name, _ in cases(golden, "fair_rslad"):
        model = FairRSLAD(*networks(golden, 2), class_scale=1.0)
        check_method(golden, name, model, *robust_teacher(golden))


def test_absld(golden):
    for name, match in cases(golden, "absld_(code|paper)"):
        model = ABSLD(
            *networks(golden, 2),
            class_scale=1.0,
            absld_code_product=match[1] == "code",
        )
        model.adv_class_temperature.assign(golden["absld_T_adv"])
        model.nat_class_temperature.assign(golden["absld_T_nat"])
        check_method(golden, name, model, *robust_teacher(golden))


def test_lmtn(golden):
    class Averaged(LMTN):
        def taught(self, role, images):
            teacher = {"nat_teacher": "clean", "adv_teacher": "rob"}[role]
            return tensor(golden, f"t_{teacher}_{images}")

    for name, _ in cases(golden, "lmtn_reconstruction"):
        model = Averaged(*networks(golden, 3), class_scale=float(golden["rslad_scale"]))
        batch = Batch("nat", "adv", labels_of(golden), None, training=False)
        check(
            golden,
            name,
            lambda n, a, m=model, b=batch: m.outer_loss(b, Logits((n,), (a,))),
        )


def test_every_loss_of_the_file_is_known(golden):
    known = (
        r"natural|sat|(fair_)?rslad|absld_(code|paper)|lmtn_reconstruction|"
        r"(trades_beta|score_lam|(fair_)?ard_tau|iad1_|two_teacher_tau).*"
    )
    for name, _ in cases(golden, ".*"):
        assert re.fullmatch(known, name), name


def two_teachers(golden, match, **kwargs):
    nat_temperature, adv_temperature, weight, _ = two_teacher_options(match)
    networks = (identity(golden["s_nat"].shape[1]) for _ in range(3))
    model = kmtard.MultiTeacherDistiller(
        *networks, temperature=(nat_temperature, adv_temperature), **kwargs
    )
    model.nat_weight.assign(weight)
    model.adv_weight.assign(1 - weight)
    return model


def test_two_teachers(golden):
    teachers = tensor(golden, "t_clean_nat"), tensor(golden, "t_rob_adv")
    for name, match in cases(golden, TWO_TEACHER):
        scale = two_teacher_options(match)[-1]
        model = two_teachers(golden, match, class_scale=scale)
        check_method(golden, name, model, *teachers)


def test_two_teachers_default_scale_is_a_tenth_of_the_classes(golden):
    teachers = tensor(golden, "t_clean_nat"), tensor(golden, "t_rob_adv")
    for name, match in cases(golden, TWO_TEACHER):
        if match[4]:
            continue
        classes = golden["s_nat"].shape[1]
        scaled = {
            key: golden[key] * (classes / 10 if key.endswith(name) else 1)
            for key in golden
        }
        check_method(scaled, name, two_teachers(golden, match), *teachers)


def test_natural_and_sat_in_float64(golden):
    with double_precision():
        labels = labels_of(golden)
        functions = {
            "natural": lambda n, a: losses.cross_entropy(labels, n),
            "sat": lambda n, a: losses.cross_entropy(labels, a),
        }
        for name, _ in cases(golden, "natural|sat"):
            check(golden, name, functions[name], "float64", 1e-10)


def test_trades_in_float64(golden):
    with double_precision():
        labels = labels_of(golden)
        for name, match in cases(golden, r"trades_beta(\d+p?\d*)"):
            beta = number(match[1])

            def loss(n, a, beta=beta):
                robust = losses.kl_divergence(n, a)
                return losses.cross_entropy(labels, n) + beta * robust

            check(golden, name, loss, "float64", 1e-10)


def test_two_teachers_in_float64(golden):
    with double_precision():
        t_nat = tensor(golden, "t_clean_nat", "float64")
        t_adv = tensor(golden, "t_rob_adv", "float64")
        for name, match in cases(golden, TWO_TEACHER):
            options = two_teacher_options(match)

            def loss(n, a, options=options):
                nat_temperature, adv_temperature, weight, scale = options
                nat = losses.kl_divergence(
                    t_nat, n, target_temperature=nat_temperature, floor=1e-5
                )
                adv = losses.kl_divergence(
                    t_adv, a, target_temperature=adv_temperature, floor=1e-5
                )
                return scale / n.shape[-1] * (weight * nat + (1 - weight) * adv)

            check(golden, name, loss, "float64", 1e-10)


@pytest.mark.parametrize("dtype, rtol", [("float32", 1e-5), ("float64", 1e-10)])
def test_entropy(golden, dtype, rtol):
    found = [key for key in golden if key.startswith("entropy_mean_BC_")]
    if not found:
        pytest.skip("no entropies in this file")
    with double_precision():
        for key in found:
            teacher, temperature = re.fullmatch(
                r"entropy_mean_BC_(.+)_tau(.+)", key
            ).groups()
            logits = tensor(golden, f"t_{teacher}", dtype)
            value = mean(losses.entropy(logits, temperature=float(temperature)))
            wanted = -logits.shape[-1] * golden[key]
            assert float(value) == pytest.approx(wanted, rel=rtol), key
