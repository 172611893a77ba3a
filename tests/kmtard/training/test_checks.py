"""Teachers that cannot teach are refused with the reason."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kmtard.data.pipeline import Split
from kmtard.runs.files import RunError
from kmtard.training.checks import check_teacher, non_finite

pytestmark = pytest.mark.once("jax")
NAN, INF = float("nan"), float("inf")


def split(same: bool = False) -> Split:
    images = np.random.default_rng(0).integers(0, 256, (8, 2, 2, 1), dtype=np.uint8)
    return Split(images[:1].repeat(8, 0) if same else images, np.arange(8) % 2)


def teacher() -> keras.Model:
    layers = [keras.layers.Flatten(), keras.layers.Dense(2)]
    return keras.Sequential([keras.Input((2, 2, 1)), *layers])


def test_a_teacher_that_works_is_accepted() -> None:
    check_teacher("adv_teacher", teacher(), split(), "'t.keras'")


@pytest.mark.parametrize("value", [NAN, INF])
def test_weights_that_are_not_finite(value: float) -> None:
    network = teacher()
    network.variables[1].assign([0.0, value])
    assert non_finite(network.variables) == [network.variables[1]]
    with pytest.raises(RunError, match="robust teacher from 't.keras' has NaN or inf"):
        check_teacher("adv_teacher", network, split(), "'t.keras'")


def test_outputs_that_are_not_finite() -> None:
    network = teacher()
    network.variables[0].assign(np.full((4, 2), 3e38))
    with pytest.raises(RunError, match="gives NaN or inf for some of 8"):
        check_teacher("nat_teacher", network, split(), "'t.keras'")


def test_a_dead_teacher() -> None:
    network = teacher()
    network.variables[0].assign(np.zeros((4, 2)))
    network.variables[1].assign([5.0, -1.0])
    with pytest.raises(RunError, match="gives the same output for all of 8 training"):
        check_teacher("nat_teacher", network, split(), "'t.keras'")


def test_equal_images_say_nothing_about_a_teacher() -> None:
    check_teacher("nat_teacher", teacher(), split(same=True), "'t.keras'")
