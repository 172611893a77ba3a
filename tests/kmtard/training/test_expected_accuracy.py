"""A run stops before training if a teacher is far below its expected accuracy."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtard.networks.small_cnn import small_cnn
from kmtard.runs import list_runs
from tests.kmtard.conftest import Fit

pytestmark = pytest.mark.once("torch")


def test_a_run_stops_before_training(recipe: Path, fit: Fit, tmp_path: Path) -> None:
    weights, runs = tmp_path / "teacher.weights.h5", tmp_path / "runs"
    small_cnn(10, (8, 8, 1)).save_weights(weights)  # knows nothing
    teacher = f"network='small_cnn', weights='{weights}', expected_accuracy=90"
    overrides = [f"adv_teacher={{{teacher}}}", f"runtime.runs_dir='{runs}'"]
    sets = [word for each in overrides for word in ("--set", each)]

    process = fit(recipe, "--method", "rslad", *sets)

    assert process.returncode == 1
    said = process.stdout + process.stderr
    assert "about 90 % (adv_teacher.expected_accuracy)" in said
    assert "standardized differently than in its training" in said
    [run] = list_runs(runs)
    events = [event["event"] for event in run.events().poll()]
    assert "phase_started" not in events and "step" not in events
