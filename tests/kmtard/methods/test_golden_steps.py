"""Whole training steps with BatchNorm, momentum and L2 against the authors' numbers."""

import re

import numpy as np
import pytest
from keras import ops

import kmtard
from kmtard import methods
from kmtard.optimizers import L2SGD
from tests.kmtard.methods.golden_nets import (
    BN_NAMES,
    StoredStart,
    steps_student,
    steps_teacher,
)

pytestmark = pytest.mark.golden("methods/steps_bn_*.npz")
OPTIONS = {
    "natural": ("natural", {}),
    "sat": ("sat", {}),
    "trades": ("trades", {}),
    "score": ("score", {}),
    "ard": ("ard", {}),
    "fair_ard": ("fair_ard", {}),
    "iad1": ("iad", {}),
    "rslad": ("rslad", {"class_scale": 1.0}),
    "absld_code": ("absld", {"class_scale": 1.0, "absld_code_product": True}),
    "absld_paper": ("absld", {"class_scale": 1.0}),
    "lmtn": ("lmtn", {"class_scale": 1.0}),
    "baseline": ("baseline", {"class_scale": 1.0}),
    "mtard": ("mtard", {"class_scale": 1.0}),
    "ebb": ("baseline_ebb", {"class_scale": 1.0}),
    "bmtard": ("b_mtard", {"class_scale": 1.0}),
}
"""Name in the file -> method and what it has other than our defaults."""
OPTIMIZERS = {
    "score": {"learning_rate": 0.05, "weight_decay": 5e-4},
    "fair_ard": {"nesterov": True},
}
STARTS = {
    "sat": ("noise_uniform", True),
    "ard": ("noise_uniform", False),
    "fair_ard": ("noise_uniform", False),
    "iad1": ("noise_uniform", False),
    "score": ("noise_gauss", True),
}
"""Which stored noise, and whether it is clipped; Gaussian and not, elsewhere."""
STATE = {
    "tau_nat": "nat_temperature",
    "tau_adv": "adv_temperature",
    "w_nat": "nat_weight",
    "w_adv": "adv_weight",
}


def build(golden, method):
    noise, clipped = STARTS.get(method, ("noise_gauss", False))
    starts = golden["x"] + golden[noise]
    start = StoredStart(golden["x"], np.clip(starts, 0, 1) if clipped else starts)
    name, options = OPTIONS[method]
    teachers = {"nat_teacher": "clean", "adv_teacher": "robust"}
    needed = kmtard.registry.positional("methods", name)
    model, callbacks = methods.build(
        name,
        student=steps_student(golden),
        **{r: steps_teacher(golden, p) for r, p in teachers.items() if r in needed},
        attack=kmtard.attacks.PGD(start=start),
        **options,
    )
    if method == "fair_ard":
        model.class_weights.assign(golden["fair_weights"])
    if method.startswith("absld"):
        model.adv_class_temperature.assign(golden["absld_T_adv"])
        model.nat_class_temperature.assign(golden["absld_T_nat"])
    return model, callbacks


def state_of(model):
    dense1, bn, dense2 = (layer for layer in model.student.layers if layer.weights)
    values = dict(zip(("W1", "b1"), dense1.weights, strict=True))
    values |= dict(zip(("W2", "b2"), dense2.weights, strict=True))
    values |= dict(zip(BN_NAMES, bn.weights, strict=True))
    return {name: ops.convert_to_numpy(value.value) for name, value in values.items()}


def assert_state(model, golden, method, step):
    found = state_of(model)
    for name, attribute in STATE.items():
        if hasattr(model, attribute):
            found[name] = ops.convert_to_numpy(getattr(model, attribute).value)
    for name, value in found.items():
        np.testing.assert_allclose(
            value,
            golden[f"{method}__keras__{name}"][step],
            atol=1e-5,
            rtol=1e-5,
            err_msg=f"{name}, step {step}",
        )


def methods_of(golden):
    found = [re.fullmatch(r"(\w+)__keras__loss", key) for key in golden]
    return [match[1] for match in found if match]


@pytest.mark.parametrize(
    ("method", "eager"),
    [
        *((method, False) for method in OPTIONS),
        # What moves state in an unusual place: inside the attack, or by the loss.
        *((method, True) for method in ("natural", "fair_ard", "bmtard")),
    ],
)
def test_train_on_batch(golden, method, eager):
    if method not in methods_of(golden):
        pytest.skip(f"no {method} in this file")
    model, callbacks = build(golden, method)
    optimizer = {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 2e-4}
    model.compile(L2SGD(**optimizer | OPTIMIZERS.get(method, {})), run_eagerly=eager)
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()
        # IAD's file holds the phase after its first epochs.
        callback.on_epoch_begin(1000 if method == "iad1" else 0)
    for step in range(len(golden["x"])):
        model.reset_metrics()
        x = golden["x"][step].astype("float32")
        logs = model.train_on_batch(x, golden["labels"][step], return_dict=True)
        assert logs["loss"] == pytest.approx(
            golden[f"{method}__keras__loss"][step], rel=1e-5
        )
        assert_state(model, golden, method, step)
    if method == "fair_ard":
        assert_counts(model, golden)


def assert_counts(model, golden):
    classes = model.class_weights.shape[0]
    labels = golden["labels"].reshape(-1)
    wanted = {
        "robust_steps": golden["fair_ard__keras__kappa_counts"].reshape(-1),
        "class_images": np.ones(len(labels)),
    }
    for name, counts in wanted.items():
        np.testing.assert_array_equal(
            ops.convert_to_numpy(getattr(model, name).value),
            np.bincount(labels, counts, classes),
            err_msg=name,
        )


def test_every_method_of_the_file_is_known(golden):
    assert set(methods_of(golden)) <= set(OPTIONS)
