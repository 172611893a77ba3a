"""What an evaluation works out, writes and reads; tables; paired comparisons."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from kmtard.evaluation import comparison, tables
from kmtard.evaluation.comparison import compare
from kmtard.evaluation.diagnostics.finding import Finding
from kmtard.evaluation.result import Column, Cost, Distance, Evaluation
from kmtard.evaluation.statistics import mcnemar, wilson_interval
from kmtard.runs.files import RunError

CLEAN = np.array([1, 1, 1, 1, 0, 1], bool)
FGSM = np.array([1, 1, 0, 1, 0, 0], bool)
SQUARE = np.array([1, 0, 1, 1, 0, 1], bool)
COST = Cost(20.0, 3.0, 21, 21.0, 20.0, 1.5)


def made(fgsm: np.ndarray = FGSM, **changes: object) -> Evaluation:
    evaluation = Evaluation(
        model="net_a",
        data="digits",
        fingerprint="abc",
        labels=np.array([0, 0, 1, 1, 2, 2]),
        clean=Column(CLEAN, {}),
        attacks={
            "fgsm": Column(fgsm, {"epsilon": 0.1}, COST, Distance(0.1, 0.7)),
            "square_100": Column(SQUARE, {"epsilon": 0.1}, stages={"one": 4}),
        },
        findings=(Finding("zero_gradients", "2 images of 6"),),
        environment={"backend": "jax"},
    )
    return replace(evaluation, **changes)  # type: ignore[arg-type]


def test_figures() -> None:
    evaluation = made()
    assert evaluation.images == 6
    assert evaluation.clean_accuracy == 5 / 6
    assert evaluation.robust_accuracy == {"fgsm": 3 / 6, "square_100": 4 / 6}
    assert evaluation.w_robust_accuracy["fgsm"] == pytest.approx(4 / 6)
    assert (
        evaluation.worst_case.robust.tolist()
        == [True, False, False, True] + [False] * 2
    )
    fgsm = evaluation.attacks["fgsm"]
    assert fgsm.interval == wilson_interval(3, 6)
    assert fgsm.by_class(evaluation.labels) == {0: 1.0, 1: 0.5, 2: 0.0}
    assert fgsm.worst_class(evaluation.labels) == (2, 0.0)
    assert list(evaluation.columns) == ["clean", "fgsm", "square_100", "worst case"]
    alone = made(attacks={"fgsm": fgsm})
    assert list(alone.columns) == ["clean", "fgsm"]


def test_json_and_back(tmp_path: Path) -> None:
    evaluation = made()
    text = json.dumps(evaluation.to_dict())
    assert Evaluation.from_dict(json.loads(text)).to_dict() == evaluation.to_dict()
    content = json.loads(text)
    assert content["attacks"]["fgsm"]["accuracy"] == 0.5
    assert content["attacks"]["fgsm"]["robust"] == "110100"
    assert content["worst_case"]["correct"] == 2
    assert content["warnings"] == [
        {"name": "zero_gradients", "message": "2 images of 6"}
    ]
    (tmp_path / "evaluation.json").write_text(text)
    for path in (tmp_path, tmp_path / "evaluation.json"):
        assert Evaluation.load(path).to_dict() == evaluation.to_dict()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "No such file"),
        ("{", "Expecting"),
        ("[]", "list"),
        ('{"rows": []}', "format None"),
        ('{"format": 1}', "'model'"),
    ],
)
def test_what_is_no_evaluation_is_refused(
    tmp_path: Path, text: str | None, why: str
) -> None:
    if text is not None:
        (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(RunError, match=why) as error:
        Evaluation.load(tmp_path)
    assert "evaluation.json" in str(error.value)
    assert "python -m kmtard.evaluate" in str(error.value)


def test_markdown() -> None:
    text = made().to_markdown()
    lines = text.splitlines()
    assert lines[0] == "net_a on 6 images of digits:"
    [fgsm] = [line for line in lines if line.startswith("| fgsm")]
    low, high = (f"{100 * end:.1f}" for end in wilson_interval(3, 6))
    cells = ("fgsm", "50.00", f"{low}-{high}", "66.67", "2", "0.0 (2)")
    assert fgsm == f"| {' | '.join((*cells, '20', '21', '20', '1.5'))} |"
    assert "- fgsm: epsilon 0.1" in lines
    assert "- square_100 after one 66.67" in lines
    assert lines[-1] == "- **zero_gradients**: 2 images of 6"
    table = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in table} == {11}
    assert len(table) == 6


def test_latex() -> None:
    text = made().to_latex()
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {row.count("&") for row in rows} == {9}
    assert r"square\_100 & 66.67" in text
    assert r"95 \%" in text
    assert "% warning: zero_gradients: 2 images of 6" in text.splitlines()


def test_terminal_table() -> None:
    screen = Console(width=160)
    with screen.capture() as shown:
        screen.print(tables.terminal(made()))
    assert "worst case" in shown.get()
    assert "66.67" in shown.get()


def test_comparison() -> None:
    better = np.array([1, 1, 1, 1, 0, 1], bool)
    clean, fgsm, square, worst = compare(made(), made(better))
    assert (clean.attack, clean.p_value) == ("clean", 1)
    assert (fgsm.only_first, fgsm.only_second) == (0, 2)
    assert fgsm.p_value == mcnemar(0, 2) == 0.5
    assert (fgsm.first, fgsm.second) == (3 / 6, 5 / 6)
    assert square.only_first == square.only_second == 0
    assert worst.attack == "worst case"
    screen = Console(width=120)
    with screen.capture() as shown:
        screen.print(comparison.terminal(made(), made(better)))
    assert "-33.33" in shown.get()


def test_comparison_needs_the_same_images() -> None:
    with pytest.raises(ValueError, match="same images"):
        compare(made(), made(fingerprint="other"))


def test_comparison_of_other_attacks_has_no_worst_case() -> None:
    fewer = made(attacks={"fgsm": made().attacks["fgsm"]})
    assert [each.attack for each in compare(made(), fewer)] == ["clean", "fgsm"]
    assert [each.attack for each in compare(fewer, made())] == ["clean", "fgsm"]


def test_comparison_tells_different_settings() -> None:
    fgsm = replace(made().attacks["fgsm"], settings={"epsilon": 0.2})
    other = made(attacks={"fgsm": fgsm})
    screen = Console(width=120)
    with screen.capture() as shown:
        screen.print(comparison.terminal(made(), other))
    assert "settings differ: fgsm" in shown.get()
