"""The measurements of a training before it is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest

from kmtard.recipe import load
from kmtard.training import trial
from kmtard.training.trial import Pace, Trial, generated, pace_of

# small_cnn of width 2 on 8x8 gray images: convolutions without bias to 2, 4 and 4
# channels, each with the four numbers of its normalization, then a dense layer.
STUDENT = 2 * 9 + 2 * 4 * 9 + 4 * 4 * 9 + 4 * (2 + 4 + 4) + (4 * 16 + 1) * 10
# Moving averages are not trained.
TRAINED = STUDENT - 2 * (2 + 4 + 4)
# The image, three times convolution, normalization and ReLU, the padding before the
# second convolution, flattened, logits.
OUTPUTS = 64 + 3 * (2 * 64 + 4 * 16 + 4 * 16) + 2 * 100 + 64 + 10


def made(recipe: Path, *overrides: str, method: str | None = None) -> Trial:
    whole = load(recipe, method=method, overrides=overrides)
    return Trial(whole, "student", generated(whole, (8, 8, 1), 10))


def test_memory_is_counted_as_it_is_said(recipe: Path) -> None:
    natural = made(recipe, method="natural")
    assert natural.network.count_params() == STUDENT
    weights = 4 * STUDENT + 8 * TRAINED
    assert natural.memory() == weights + 16 * 4 * OUTPUTS
    doubled = made(recipe, "data.batch_size=32", method="natural")
    assert doubled.memory() == weights + 32 * 4 * OUTPUTS
    trades = made(recipe, method="trades")
    assert trades.memory() == weights + 16 * 4 * 3 * OUTPUTS, "three passes"


def test_memory_has_the_teachers(recipe: Path) -> None:
    rslad = made(recipe, method="rslad")
    teacher = rslad.teachers["adv_teacher"].count_params()
    own = 4 * (STUDENT + teacher) + 8 * TRAINED + 16 * 4 * 2 * OUTPUTS
    # Its largest layers have 3 channels, of 10x10 after the padding, of 8x8 before it.
    assert rslad.memory() == own + 16 * 4 * (3 * 100 + 3 * 64)


def test_memory_of_a_teacher_that_learns_is_a_students(recipe: Path) -> None:
    learning = made(recipe, method="tests.kmtard.methods.learning:LearningTeacher")
    nat, adv = learning.teachers.values()
    weights = 4 * (STUDENT + nat.count_params() + adv.count_params())
    weights += 8 * (TRAINED + trial.parameters(adv))
    assert trial.parameters(adv) > 0
    # Three channels in place of two, six in place of four, and the image once.
    outputs = 64 + 3 * (3 * 64 + 6 * 16 + 6 * 16) + 3 * 100 + 96 + 10
    frozen = 3 * 100 + 3 * 64
    assert learning.memory() == weights + 16 * 4 * (2 * OUTPUTS + outputs + frozen)


def test_mixed_precision_halves_what_layers_put_out(recipe: Path) -> None:
    policy = keras.mixed_precision.dtype_policy()
    try:
        half = made(recipe, "runtime.precision=mixed_bfloat16", method="natural")
        assert half.memory() == 4 * STUDENT + 8 * TRAINED + 16 * 2 * OUTPUTS
    finally:
        keras.mixed_precision.set_dtype_policy(policy)


def test_memory_of_a_network_without_known_layers(recipe: Path) -> None:
    unknown = made(recipe, method="natural")
    unknown.network = keras.Sequential([keras.layers.Dense(2)])
    assert unknown.memory() is None


def test_pace_takes_the_first_batch_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((0.0, 10.0, 11.0, 14.0))
    monkeypatch.setattr(trial.time, "perf_counter", lambda: next(clock))

    def run(callback: Any) -> None:
        for batch in range(3):
            callback.on_train_batch_end(batch, {"loss": 1.0})

    pace = pace_of(run)
    assert pace == Pace(first=10.0, later=2.0)
    assert pace.total(1) == 10.0
    assert pace.total(101) == 210.0
    assert str(pace) == "2 s (the first, with compilation: 10 s)"


def test_every_term_of_the_last_epoch_is_measured(recipe: Path) -> None:
    begin = "methods={iad={begin=2, schedule={epochs=3, milestones=[]}}}"
    iad = made(recipe, begin, method="iad")
    assert iad.step().later > 0
    assert iad.model.introspecting
    assert iad.evaluation().later > 0
    assert int(iad.model.steps_taken.value) == 3
