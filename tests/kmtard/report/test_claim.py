"""Which record a path names, what belongs to its curve, and what repeats it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kmtard.report.claim import Claim, radius
from kmtard.report.source import read
from kmtard.runs import RunError
from tests.kmtard.report.conftest import Reported, record

pytestmark = pytest.mark.once("jax")

Written = Callable[..., Path]
COMMAND = "kmtard evaluate model.keras --data digits --attacks fgsm --epsilon 0.1"


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Return a function that writes a record of a model file."""

    def write(
        name: str = "evaluation.json", epsilon: float = 0.1, **changes: Any
    ) -> Path:
        content = record({"fgsm": 20, "autoattack": 12}, epsilon=epsilon)
        content["networks"] = content["networks"][-1:]
        content["environment"]["commands"] = [COMMAND]
        content = {**content, **changes}
        path = tmp_path / "model.evaluation" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        return path

    return write


def found(path: Path) -> Claim:
    claim = Claim.at(path)
    assert claim is not None
    return claim


def test_a_record_is_named_by_its_file_its_folder_or_its_model(
    written: Written, tmp_path: Path
) -> None:
    path = written()
    for place in (path, path.parent, tmp_path / "model.keras", tmp_path / "model.pt"):
        assert found(place).results.path == path
    other = written("evaluation/other.json", epsilon=0.2)
    assert found(other).results.path == other
    assert found(other).folder == path.parent


def test_a_run_or_any_other_folder_is_not_a_claim(
    reported: Reported, tmp_path: Path
) -> None:
    run = reported()
    assert Claim.at(run.path) is None and Claim.at(tmp_path) is None
    assert found(run.evaluation_path).folder == run.path
    [measured] = read([run.path]).runs
    claim = Claim.of_run(measured)
    assert claim and claim.command() == f"kmtard evaluate {run.path}"


def test_the_curve_has_only_records_of_the_same_model_and_images(
    written: Written,
) -> None:
    path = written()
    curve = written("evaluation/b.json", epsilon=0.05)
    images = {"images": "f01", "seed": 0, "epsilon": 0.2}
    apart = written("evaluation/c.json", conditions=images)
    weights = json.loads(written("evaluation/d.json", epsilon=0.3).read_text())
    weights["networks"][-1]["weights"] = "another"
    other = written("evaluation/d.json", **weights)
    claim = found(path)
    assert [each.path for each in claim.records] == [curve, path]
    assert list(map(radius, claim.records)) == [0.05, 0.1]
    assert list(claim.other_files) == [apart, other]


def test_the_lowest_accuracy_is_the_claim(written: Written) -> None:
    claim = found(written())
    assert claim.strongest == "autoattack"
    assert claim.worst_column == "worst case"


def test_a_command_keeps_what_is_not_replaced(written: Written) -> None:
    claim = found(written())
    rest = "kmtard evaluate model.keras --data digits"
    assert claim.command() == COMMAND
    attacked = claim.command("--attacks", "autoattack")
    assert attacked == f"{rest} --epsilon 0.1 --attacks autoattack"
    assert claim.command("--epsilons", "0,1") == f"{rest} --attacks fgsm --epsilons 0,1"
    unknown = found(written(environment={}))
    assert unknown.command() == "kmtard evaluate MODEL.keras --data DATA"


def test_a_damaged_command_is_not_used(written: Written) -> None:
    claim = found(written(environment={"commands": ["kmtard evaluate 'model.keras"]}))
    assert claim.command().startswith("kmtard evaluate MODEL.keras")


def test_a_missing_record_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="Create it with `kmtard evaluate`"):
        Claim.at(tmp_path / "model.keras")
