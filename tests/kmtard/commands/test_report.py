"""Runs of several seeds in one row, in each format."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kmtard.commands.report import FORMATS, main

pytestmark = pytest.mark.once("torch")


@pytest.fixture
def runs(evaluated: Callable[..., Path]) -> list[str]:
    """Two seeds of one setting, and a third run with another epsilon."""
    return [str(evaluated(0)), str(evaluated(1)), str(evaluated(2, epsilon=0.2))]


def test_the_terminal_shows_the_best_row_first(
    runs: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(runs) == 0
    printed = capsys.readouterr().out
    assert "digits, small_cnn" in printed
    assert printed.index("37.50 ± 3.54") < printed.index("45.00")
    assert "W-Robust" in printed and "(pgd_trades)" in printed


def test_markdown(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*runs, "--format", "markdown"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "| data | student | method | radius | runs | clean | pgd_trades | fgsm "
        "| W-Robust (pgd_trades) |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| digits | small_cnn | b-mtard | 0.1 | 2 | 55.00 ± 7.07 "
        "| 20.00 ± 0.00 | 75.00 ± 0.00 | 37.50 ± 3.54 |",
        "| digits | small_cnn | b-mtard | 0.2 | 1 | 70.00 | 20.00 | 75.00 | 45.00 |",
    ]


def test_csv(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*runs, "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "data,student,method,radius,runs,clean,pgd_trades,fgsm,W-Robust (pgd_trades)",
        "digits,small_cnn,b-mtard,0.1,2,55.00 ± 7.07,"
        "20.00 ± 0.00,75.00 ± 0.00,37.50 ± 3.54",
        "digits,small_cnn,b-mtard,0.2,1,70.00,20.00,75.00,45.00",
    ]


@pytest.mark.parametrize("form", FORMATS)
def test_an_ascii_output_is_enough(
    form: str, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    output = io.BytesIO()
    stream = io.TextIOWrapper(output, encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    assert main([*runs, "--format", form]) == 0
    assert b"37.50 +- 3.54" in output.getvalue()


def test_what_cannot_be_used_is_named(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (Path(runs[0]) / "evaluation.json").unlink()
    (tmp_path / "no run").mkdir()
    assert main([*runs, str(tmp_path / "no run")]) == 1
    printed = capsys.readouterr()
    assert "b-mtard" in printed.out
    [problem] = printed.err.splitlines()
    assert problem.startswith(f"{runs[0]} is left out: it has no evaluation.json")


ESCAPE = "\x1b]0;x\x07\x1b[31m\u202e[bold]"


@pytest.mark.parametrize("form", ["table", "markdown", "csv"])
def test_foreign_text_is_shown_and_not_interpreted(
    evaluated: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("FORCE_COLOR", "")
    path = evaluated(0)
    text = json.dumps(ESCAPE)[1:-1]
    for name in ("recipe.toml", "evaluation.json"):
        content = (path / name).read_text()
        for word in ("digits", "small_cnn", "b_mtard", "fgsm"):
            content = content.replace(f'"{word}"', f'"{text}{word}"')
        (path / name).write_text(content)
    broken = path.with_name(f"broken{ESCAPE}")
    broken.mkdir()
    (broken / "run.json").write_text("{}")
    assert main([str(path), str(broken), "--format", form]) == 1
    printed = capsys.readouterr()
    for stream in (printed.out, printed.err):
        assert not {"\x1b", "\x07", "\u202e"} & set(stream)
        assert "bold" in stream
