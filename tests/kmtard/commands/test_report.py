"""Runs of several seeds in one row."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from kmtard.commands.report import collect, main
from kmtard.runs import Run

pytestmark = pytest.mark.once("torch")

Finished = tuple[subprocess.CompletedProcess[str], Run]


@pytest.fixture
def runs(finished: Finished, tmp_path: Path) -> list[str]:
    """Two seeds of one setting, and a third run with another epsilon."""
    folders = []
    changes = [("seed = 0", "seed = 0"), ("seed = 0", "seed = 1")]
    changes.append(("epsilon = 0.1", "epsilon = 0.2"))
    for number, (old, new) in enumerate(changes):
        folder = tmp_path / f"run{number}"
        shutil.copytree(finished[1].path, folder)
        recipe = folder / "recipe.toml"
        assert old in recipe.read_text()
        recipe.write_text(recipe.read_text().replace(old, new))
        report = json.loads((folder / "evaluation.json").read_text())
        student = report["networks"][-1]
        clean = student["clean"]["accuracy"] = 0.5 + 0.1 * number
        changed = {"accuracy": 0.2, "w_robust_accuracy": 0.5 * clean + 0.1}
        student["attacks"]["pgd_trades"] |= changed
        (folder / "evaluation.json").write_text(json.dumps(report))
        folders.append(str(folder))
    return folders


def test_seeds_share_a_row(runs: list[str]) -> None:
    rows, problems = collect(map(Path, runs))
    assert problems == []
    assert [row.label for row in rows] == ["b-mtard (2)", "b-mtard"]
    assert [row.text("clean") for row in rows] == ["70.00", "55.00 ± 7.07"]
    assert rows[1].text("pgd_trades") == "20.00 ± 0.00"
    assert rows[1].text("W-Robust") == "37.50 ± 3.54"
    assert rows[1].text("autoattack") == "-"


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("table", "37.50 ± 3.54"),
        ("markdown", "| digits | small_cnn | b-mtard | 2 | 55.00 ± 7.07 |"),
        ("csv", "digits,small_cnn,b-mtard,2,55.00 ± 7.07,20.00 ± 0.00,37.50 ± 3.54"),
    ],
)
def test_formats(
    runs: list[str], form: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*runs, "--format", form]) == 0
    assert line in capsys.readouterr().out


def test_evaluated_run_that_has_not_finished_has_its_row(runs: list[str]) -> None:
    events = Path(runs[2]) / "events.jsonl"
    lines = events.read_text().splitlines(keepends=True)
    events.write_text("".join(lines[:-1]))
    rows, problems = collect([Path(runs[2])])
    assert problems == []
    assert [row.text("clean") for row in rows] == ["70.00"]


def test_what_cannot_be_used_is_named(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (Path(runs[0]) / "evaluation.json").unlink()
    (Path(runs[1]) / "evaluation.json").write_text("{")
    (tmp_path / "no run").mkdir()
    assert main([*runs, str(tmp_path / "no run")]) == 1
    printed = capsys.readouterr()
    assert "b-mtard" in printed.out
    first, second = printed.err.splitlines()
    assert "run0 is left out: it has no evaluation.json" in first
    assert "run1 is left out" in second
