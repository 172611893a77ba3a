"""Every method and attack where Keras's default float type is float64.

JAX computes in float32 all the same, and warns, unless JAX_ENABLE_X64 is set.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

from kmtard import methods, registry
from kmtard.attacks import APGD, FAB, PGD, Attack, RayS, Square
from kmtard.attacks.classifier import Classifier

pytestmark = pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")

CLASSES = 4


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


def network(dtype: str | None = None, seed: int = 0) -> Any:
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Flatten(), keras.layers.Dense(CLASSES, dtype=dtype)]
    return keras.Sequential([keras.layers.Input((3, 3, 1), dtype=dtype), *layers])


def images() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).random((4, 3, 3, 1)), np.arange(4)


def built(name: str, teacher: str | None = None) -> tuple[Any, list]:
    teachers = [r for r in registry.positional("methods", name) if r != "student"]
    attack = PGD(0.1, step_size=0.05, steps=1)
    model, driving = methods.build(
        name,
        student=network(),
        **{role: network(teacher, seed=1) for role in teachers},
        attack=attack,
        evaluation_attack=attack,
    )
    # Faster than compiling each step; the float types that meet are the same.
    model.compile("sgd", run_eagerly=True, jit_compile=False)
    return model, driving


MIXED = ("fair_ard", "absld", "b_mtard", "adaad")


@pytest.mark.parametrize(
    ("name", "teacher"),
    [*((name, None) for name in registry.METHODS), *((m, "float32") for m in MIXED)],
)
def test_every_method_takes_a_step(name: str, teacher: str | None) -> None:
    """With teachers of the same float type, and with those of a float32 file."""
    model, driving = built(name, teacher)
    x, y = images()
    before = model.student.get_weights()
    weights = np.array([1.0, 2.0, 0.5, 1.0])
    model.fit(x, y, sample_weight=weights, callbacks=driving, verbose=0)
    after = model.student.get_weights()
    assert any(np.abs(a - b).max() > 0 for a, b in zip(after, before, strict=True))
    assert all(np.isfinite(each).all() for each in after)


def test_balances_follow_the_float_type() -> None:
    model, driving = built("b_mtard")
    assert model.nat_temperature.dtype == model.adv_weight.dtype == "float64"
    assert model.compute_dtype == "float64"
    x, y = images()
    model.fit(x, y, callbacks=driving, verbose=0)
    moved = float(model.nat_temperature.value)
    assert abs(moved - 1) < 0.1 and np.isfinite(moved)


ATTACKS = (
    *(PGD(0.1, steps=1), APGD(0.1, steps=2), FAB(0.1, steps=2)),
    *(Square(0.1, queries=3), RayS(0.1, queries=5)),
)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda each: type(each).__name__)
def test_attacks_run(attack: Attack) -> None:
    x, y = images()
    found = attack.run(Classifier(network(), x), x, y, seed=0)
    assert np.isfinite(found.x_adv).all()
    assert np.asarray(found.x_adv).shape == x.shape
