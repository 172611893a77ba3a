"""Whole steps with convolutions against an independent script in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard import methods, registry
from kmtard.attacks import PGD
from kmtard.optimizers import L2SGD
from tests.kmtard.methods.golden_nets import StoredStart

PATH = Path(__file__).parents[2] / "reference" / "steps.npz"
PARTS = ("kernel", "conv_bias", "dense", "bias")
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "adaad_c10": ("adaad", {}),
    "adaad_c10_alpha": ("adaad", {"alpha": 0.7}),
    "adaad_c100": ("adaad", {}),
    "adaad_c100_alpha": ("adaad", {"alpha": 0.7}),
    "mart_c10": ("mart", {}),
    "mart_c100": ("mart", {"beta": 6.0}),
    "rslad_c100": ("rslad", {}),
    "ard_c100": ("ard", {"alpha": 0.95, "temperature": 5.0}),
    "iad_c10": ("iad", {"alpha": 0.9, "temperature": 2.0}),
    "score_c10": ("score", {"clip": 0.0}),
}


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    with np.load(PATH) as arrays:
        return dict(arrays)


def network(reference: dict[str, np.ndarray], role: str, classes: str) -> Any:
    weights = [reference[f"{role}_{classes}_{part}"] for part in PARTS]
    net = keras.Sequential(
        [
            layers.Input(reference["x"].shape[2:]),
            layers.Conv2D(
                weights[0].shape[-1],
                3,
                activation="relu",
                data_format="channels_last",
            ),
            layers.Flatten(data_format="channels_last"),
            layers.Dense(weights[-1].shape[0]),
        ]
    )
    net.set_weights(weights)
    return net


@pytest.mark.parametrize("name", CASES)
def test_steps(reference: dict[str, np.ndarray], name: str) -> None:
    method, options = CASES[name]
    classes = name.split("_")[1]
    roles = registry.positional("methods", method)
    made = {role: "student" if role == "student" else "teacher" for role in roles}
    start = StoredStart(reference["x"], reference["x"] + reference["noise"])
    model, _ = methods.build(
        method,
        **{role: network(reference, key, classes) for role, key in made.items()},
        attack=PGD(steps=3, start=start),
        **options,
    )
    optimizer = L2SGD(0.1, momentum=0.9, weight_decay=2e-4)
    model.compile(optimizer, run_eagerly=True)

    for step, x in enumerate(reference["x"]):
        labels = reference[f"labels_{classes}"][step]
        logs = model.train_on_batch(x, labels, return_dict=True)
        wanted = reference[f"{name}__loss"][step]
        assert logs["loss"] == pytest.approx(wanted, rel=2e-5), f"step {step}"

    for part, weight in zip(PARTS, model.student.weights, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(weight.value),
            reference[f"{name}__{part}"],
            rtol=2e-5,
            atol=2e-5,
            err_msg=part,
        )


@pytest.mark.once("torch")
def test_the_script_makes_the_file(reference: dict[str, np.ndarray]) -> None:
    from tests.reference import steps

    made = steps.make()
    assert made.keys() == reference.keys()
    assert steps.CASES.keys() == CASES.keys()
    for key, array in made.items():
        np.testing.assert_allclose(array, reference[key], rtol=1e-6, err_msg=key)
