"""Statistics and tables against the numbers of the original attack code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmtard.evaluation.result import Column, NetworkEvaluation
from kmtard.evaluation.statistics import w_robust, wilson_interval

UNITS = pytest.mark.golden("attacks/unit_goldens.npz")
MASKS = pytest.mark.golden("attacks/*_robust_masks.npz")


def arrays(golden: dict[str, np.ndarray], *names: str) -> list[np.ndarray]:
    if missing := [name for name in names if name not in golden]:
        pytest.skip(f"no {missing} in this file")
    return [golden[name] for name in names]


@UNITS
def test_w_robust(golden: dict[str, np.ndarray]) -> None:
    columns = arrays(golden, *(f"w_robust/{k}" for k in ("clean", "robust", "value")))
    for clean, robust, value in zip(*columns, strict=True):
        assert w_robust(clean, robust) == pytest.approx(value, rel=1e-14)


@UNITS
def test_wilson(golden: dict[str, np.ndarray]) -> None:
    names = (f"wilson/{name}" for name in ("k", "n", "low", "high"))
    k, n, low, high = arrays(golden, *names)
    trials = np.broadcast_to(n, k.shape)
    found = [wilson_interval(int(a), int(b)) for a, b in zip(k, trials, strict=True)]
    np.testing.assert_allclose(found, np.stack([low, high], 1), rtol=0, atol=1e-12)


@pytest.fixture
def results(golden: dict[str, np.ndarray], request: pytest.FixtureRequest) -> Any:
    """What the set's JSON says of the net whose masks these are."""
    path: Path = request.node.callspec.params["golden"]
    stem = path.name.removesuffix("_robust_masks.npz")
    for file in path.parent.glob("*_results.json"):
        prefix = file.name.removesuffix("results.json")
        nets = json.loads(file.read_text())
        if stem.startswith(prefix) and stem.removeprefix(prefix) in nets:
            return nets[stem.removeprefix(prefix)]
    pytest.skip(f"no results beside {path.name}")


@MASKS
def test_table_of_the_golden_masks(
    golden: dict[str, np.ndarray], results: dict[str, Any]
) -> None:
    told = {k: v for k, v in results["attacks"].items() if "robust_acc" in v}
    names = [name for name in told if name in golden]
    images = results["n"]
    clean = np.arange(images) < round(results["clean_acc"] * images)
    columns = {name: Column(golden[name], {}) for name in names}
    evaluation = NetworkEvaluation("model", "net", Column(clean, {}), columns)
    assert names
    for name in names:
        accuracy = told[name]["robust_acc"]
        assert evaluation.robust_accuracy[name] == pytest.approx(accuracy, abs=1e-6)
        if "w_robust_05" in told[name]:
            half = pytest.approx(told[name]["w_robust_05"], abs=1e-6)
            assert evaluation.w_robust_accuracy[name] == half


@MASKS
def test_worst_case_of_the_golden_masks(golden: dict[str, np.ndarray]) -> None:
    [wanted] = arrays(golden, "worst_case_all")
    everything = Column(np.ones(len(wanted), bool), {})
    columns = {k: Column(v, {}) for k, v in golden.items() if k != "worst_case_all"}
    evaluation = NetworkEvaluation("model", "net", everything, columns)
    np.testing.assert_array_equal(evaluation.worst_case.robust, wanted)
