"""`.keras` files of version 0.1.0, written by JAX, load on every backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import kmtard
from kmtard import registry
from kmtard.evaluate import evaluate

STATE = ("steps_taken", "nat_temperature", "adv_temperature", "nat_weight")
STATE += ("adv_weight",)


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    """Import what a whole method consists of."""
    assert kmtard.optimizers
    for table in ("methods", "attacks"):
        for name in registry.TABLES[table]:
            registry.resolve(table, name)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The first test images."""
    test = registry.resolve("datasets", "digits")().test
    return test.images[:4] / np.float32(255), test.labels[:4]


@pytest.mark.parametrize("name", ["student", "trades", "multi_teacher"])
def test_it_answers_as_before(name: str, old: Path, expected: dict[str, Any]) -> None:
    model, wanted = keras.models.load_model(f"{name}.keras"), expected["models"][name]
    logits = ops.convert_to_numpy(model(digits()[0], training=False))
    np.testing.assert_allclose(logits, wanted["logits"], rtol=1e-3, atol=1e-4)
    state = {key: float(getattr(model, key).value) for key in STATE if key in wanted}
    assert state == pytest.approx({k: wanted[k] for k in STATE if k in wanted})


def test_student_of_a_run_loads(old: Path) -> None:
    for name in ("finished", "stopped", "evaluated"):
        student = keras.models.load_model(old / "runs" / name / "best/student.keras")
        assert student.output_shape == (None, 10)


@pytest.mark.parametrize("name", ["trades", "multi_teacher"])
def test_whole_method_goes_on(name: str, old: Path) -> None:
    model = keras.models.load_model(f"{name}.keras")
    assert isinstance(model, kmtard.AdversarialModel)
    assert isinstance(model, kmtard.MultiTeacherDistiller) == (name == "multi_teacher")
    assert (model.attack.epsilon, model.attack.steps) == (0.1, 3)
    steps = int(model.steps_taken.value)
    assert int(model.optimizer.iterations.value) == steps
    teacher = getattr(model, "nat_teacher", None)
    before = [ops.convert_to_numpy(w) for w in teacher.weights] if teacher else []
    # The file says that JAX compiled the step; PyTorch would take minutes to.
    model.jit_compile, model.run_eagerly = False, True
    model.fit(*digits(), batch_size=4, verbose=0)
    assert int(model.steps_taken.value) == steps + 1
    for array, weight in zip(before, teacher.weights if teacher else [], strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(weight), array)


def test_old_student_is_evaluated_by_the_old_import(old: Path) -> None:
    found = evaluate(keras.models.load_model("student.keras"), digits(), attacks="fgsm")
    assert found.images == 4 and list(found.attacks) == ["fgsm"]


def test_every_registered_name_is_still_there(expected: dict[str, Any]) -> None:
    assert len(expected["registered"]) > 15
    names = keras.saving.get_custom_objects()
    found = {name: names.get(name) for name in expected["registered"]}
    assert [name for name, value in found.items() if not isinstance(value, type)] == []
