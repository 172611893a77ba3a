"""Evaluations of version 0.1.0 can be loaded, compared and continued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmtard.evaluate import Evaluation, main

pytestmark = pytest.mark.once("jax")

PLACES = {"student": "student.evaluation", "run": "runs/evaluated"}


def bits(text: str) -> np.ndarray:
    return np.array([digit == "1" for digit in text])


def hyphenated(values: dict[str, Any]) -> dict[str, Any]:
    return {key.replace("_", "-"): value for key, value in values.items()}


@pytest.mark.parametrize("name", PLACES)
def test_it_loads(name: str, old: Path, expected: dict[str, Any]) -> None:
    found, wanted = Evaluation.load(PLACES[name]), expected["evaluations"][name]
    assert found.images == 32
    assert found.fingerprint == wanted["fingerprint"]
    assert found.clean_accuracy == wanted["clean_accuracy"]
    # The registry's spelling of a name may differ from the old one.
    for accuracies in ("robust_accuracy", "w_robust_accuracy"):
        assert hyphenated(getattr(found, accuracies)) == hyphenated(wanted[accuracies])
    columns = hyphenated(found.columns)
    assert columns.keys() == hyphenated(wanted["robust"]).keys()
    for attack, answers in hyphenated(wanted["robust"]).items():
        np.testing.assert_array_equal(columns[attack].robust, bits(answers), attack)


def test_they_compare(
    old: Path, expected: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--compare", *PLACES.values()]) == 0
    output = capsys.readouterr().out
    both = [expected["evaluations"][name]["robust"] for name in PLACES]
    for attack in ("clean", "pgd_trades"):
        first, second = (bits(robust[attack]) for robust in both)
        only_first, only_second = (first & ~second).sum(), (second & ~first).sum()
        assert only_first + only_second > 0
        [line] = [line for line in output.splitlines() if f"│ {attack} " in line]
        cells = [cell.strip() for cell in line.split("│")]
        assert cells[5:7] == [str(only_first), str(only_second)]


def test_the_same_command_finds_the_same(old: Path, expected: dict[str, Any]) -> None:
    words = ["runs/evaluated", "--limit", "32", "--attacks", "pgd_trades,fgsm"]
    assert main(words) == 0
    found, wanted = Evaluation.load("runs/evaluated"), expected["evaluations"]["run"]
    assert found.images == 32
    assert found.clean_accuracy == pytest.approx(wanted["clean_accuracy"], abs=1 / 32)
    assert found.robust_accuracy == pytest.approx(
        wanted["robust_accuracy"], abs=1.01 / 32
    )


def test_finished_batches_are_not_made_again(old: Path) -> None:
    def batches() -> dict[str, int]:
        paths = Path("student.evaluation").rglob("*.npz")
        # Version 0.1 did not store the diagnostics of a model.
        return {
            str(path): path.stat().st_mtime_ns
            for path in paths
            if not path.parent.name.startswith("diagnostics")
        }

    before = batches()
    words = ["--attacks", "pgd_trades,apgd-ce,fab-t", "--epsilon", "0.1"]
    words += ["--data", "digits", "--limit", "32", "--batch-size", "16"]
    words += ["--step-size", "0.05", "--steps", "5", "--backend", "jax"]
    assert main(["student.keras", *words]) == 0
    assert batches() == before
