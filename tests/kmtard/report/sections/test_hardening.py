"""The page of a hardening."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kmtard.report.drawings import Plane
from kmtard.report.sections import hardening
from kmtard.report.source import Measured
from kmtard.runs import Run
from kmtard.runs.history import History
from kmtard.runs.intact import sealed
from kmtard.runs.records import NetworkResults, Results, Score
from kmtard.runs.tables import Table

pytestmark = pytest.mark.once("torch")

LABELS = (0, 0, 1, 1)


def network(role: str, clean: str, robust: str) -> NetworkResults:
    """Results of four images; each word has a digit per image."""
    shares = [word.count("1") / len(word) for word in (clean, robust)]
    attacked = Score(shares[1], w_robust=sum(shares) / 2, epsilon=0.1, robust=robust)
    score = Score(shares[0], (0.1, 0.9), robust=clean)
    return NetworkResults(role, role, score, {"pgd_trades": attacked}, "pgd_trades")


def measured(folder: Path, after: str = "1110") -> Measured:
    run = Run.create(folder, "harden", "", {})
    networks = (
        network("nat_teacher", "1111", "1000"),
        network("adv_teacher", "0110", "0110"),
        network("student", after, "0110"),
    )
    results = Results(
        run.path / "evaluation.json",
        networks,
        "pgd_trades",
        4,
        labels=LABELS,
        class_names=("cat", "dog"),
    )
    return Measured(run, {}, results, (), History(run))


def facts(**changes: Any) -> dict[str, Any]:
    return {
        "model": "model.keras",
        "digest": "0",
        "input_range": [0, 255],
        "epsilon": 0.1,
        "lines": ["values from 0 to 255"],
        "points": [{"share": 0.5, "clean": 0.9, "robust": 0.4}],
        **changes,
    }


def table_of(section: Any) -> Table:
    [found] = [block for block in section.blocks if isinstance(block, Table)]
    return found


def test_before_and_after(tmp_path: Path) -> None:
    found = table_of(hardening.before_after(measured(tmp_path)))
    assert [row[0] for row in found.rows] == [
        "given model",
        "robust teacher",
        "hardened model",
    ]
    assert found.rows[0] == [
        "given model",
        "100.0 % (10.0 to 90.0)",
        "25.0 %",
        "62.5 %",
    ]


def test_each_class_before_and_after(tmp_path: Path) -> None:
    found = table_of(hardening.per_class(measured(tmp_path)))
    cat = ["cat", "2", "100.0 %", "50.0 %", "100.0 %", "50.0 %"]
    dog = ["dog", "2", "100.0 %", "0.0 %", "50.0 %", "50.0 %"]
    assert found.rows == [cat, dog]


@pytest.mark.parametrize(
    ("after", "words"), [("1110", "lost 25.0 points"), ("1111", "is within 5 points")]
)
def test_the_price_is_said_and_the_balances_shown(
    tmp_path: Path, after: str, words: str
) -> None:
    found = hardening.frontier(measured(tmp_path, after), facts())
    assert words in str(found.blocks[0])
    names = [row[0] for row in table_of(found).rows]
    assert names == [
        "given model",
        "mixture, 50% hardened",
        "hardened model",
        "robust teacher",
    ]
    [plane] = [block for block in found.blocks if isinstance(block, Plane)]
    expected = [100, 90, 100 * after.count("1") / 4, 50]
    assert [point.x for point in plane.points] == expected


def test_a_robust_teacher_that_is_better_is_named_with_its_file(tmp_path: Path) -> None:
    found = measured(tmp_path, "1110")
    assert "robust teacher" not in str(hardening.frontier(found, facts()).blocks[0])
    worse = network("student", "0110", "0010")
    networks = (*found.results.networks[:2], worse) if found.results else ()
    assert found.results is not None
    found = replace(found, results=replace(found.results, networks=networks))
    file = found.run.path / "robust-teacher.keras"
    file.touch()
    section = hardening.frontier(found, facts())
    assert "robust teacher has a higher W-Robust accuracy" in str(section.blocks[0])
    assert table_of(section).rows[-1][-1] == str(file)


def test_what_is_not_promised_names_the_radius_and_a_stronger_attack(
    tmp_path: Path,
) -> None:
    text = " ".join(map(str, hardening.limits(measured(tmp_path)).blocks))
    assert "no proof" in text and "--attacks autoattack" in text


def test_facts_of_other_runs_are_none(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "run", "", {})
    assert hardening.read_facts(run) == {}
    path = run.path / hardening.FACTS_FILE
    path.write_text("[1")
    assert hardening.read_facts(run) == {}
    path.write_text(json.dumps(sealed({"model": "x"})))
    assert hardening.read_facts(run) == {}
    path.write_text(json.dumps(sealed(facts())))
    assert hardening.read_facts(run)["epsilon"] == 0.1
