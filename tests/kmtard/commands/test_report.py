"""Runs of several seeds in one row, in each format."""

from __future__ import annotations

import io
import json
import re
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
    assert main([*runs, str(tmp_path / "no run"), str(tmp_path / "gone")]) == 1
    printed = capsys.readouterr()
    assert "b-mtard" in printed.out
    gone, problem = printed.err.splitlines()
    assert gone.endswith(f"Received: {tmp_path / 'gone'}, which is not a folder.")
    assert problem.startswith(f"{runs[0]} is left out: it has no evaluation.json")


def test_a_folder_of_runs_stands_for_its_runs(
    runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*runs, "--format", "csv"]) == 0
    wanted = capsys.readouterr().out
    assert main([str(Path(runs[0]).parent), "--format", "csv"]) == 0
    assert capsys.readouterr().out == wanted


def test_html_is_one_file(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.html"
    assert main([*runs, "--html", str(path)]) == 0
    assert capsys.readouterr().out == f"report: {path}\n"
    page = path.read_text()
    assert "Report on digits, small_cnn" in page and "3 runs in 2 rows" in page
    assert f"kmtard report {runs[0]}" in page
    assert {each.name for each in tmp_path.iterdir()} == {"runs", "report.html"}


def test_a_folder_holds_every_format(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([runs[0], "--output", str(tmp_path / "out")]) == 0
    files = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {"report.html", "report.md", "summary-1.tex", "plane-1.png"} <= files
    title = f"# Report on {Path(runs[0]).name}"
    assert (tmp_path / "out" / "report.md").read_text().startswith(title)


def test_a_report_needs_a_run_and_a_place(
    runs: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty"), "--html", str(tmp_path / "a.html")]) == 1
    assert "Expected at least one run" in capsys.readouterr().err
    monkeypatch.setattr("kmtard.report.sections.ALL", ())
    assert main([*runs, "--html", str(tmp_path / "none" / "a.html")]) == 1
    assert "Cannot write" in capsys.readouterr().err


def test_the_page_of_one_evaluation(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, path = Path(runs[0]) / "evaluation.json", tmp_path / "claim.html"
    assert main([str(record), "--html", str(path)]) == 0
    page = path.read_text()
    assert "How to repeat this" in page and "Do not quote" in page
    capsys.readouterr()
    assert main([str(record)]) == 0
    printed = capsys.readouterr().out
    assert "pgd_trades" in printed and "verdict: Do not quote" in printed
    assert main([str(record), "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("attack,robust")


def test_an_evaluation_and_runs_do_not_share_a_page(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = str(Path(runs[0]) / "evaluation.json")
    assert main([record, runs[1], "--html", str(tmp_path / "a.html")]) == 1
    assert "Expected one evaluation alone" in capsys.readouterr().err
    assert main([str(tmp_path / "gone.keras")]) == 1
    assert "Create it with `kmtard evaluate`" in capsys.readouterr().err


def test_the_report_on_one_run_begins_with_the_verdict(
    runs: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    assert main([runs[0], "--html", str(path)]) == 0
    titles = re.findall(r"<h2[^>]*>([^<]*)", path.read_text())
    assert titles[0] == "Verdict" and "How to repeat this" in titles


ESCAPE = "\x1b]0;x\x07\x1b[31m\u202e[bold]"


@pytest.mark.parametrize("form", ["table", "markdown", "csv", "html"])
def test_foreign_text_is_shown_and_not_interpreted(
    evaluated: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("FORCE_COLOR", "")
    path = evaluated(0)
    page = path.parent.parent / "page.html"
    text = json.dumps(ESCAPE)[1:-1]
    for name in ("recipe.toml", "evaluation.json"):
        content = (path / name).read_text()
        for word in ("digits", "small_cnn", "b_mtard", "fgsm"):
            content = content.replace(f'"{word}"', f'"{text}{word}"')
        # Without their checksums, changed files are taken as they are.
        content = re.sub("# sha256 .*", "", content)
        (path / name).write_text(content)
    broken = path.with_name(f"broken{ESCAPE}")
    broken.mkdir()
    (broken / "run.json").write_text("{}")
    words = ["--html", str(page)] if form == "html" else ["--format", form]
    assert main([str(path), str(broken), *words]) == 1
    printed = capsys.readouterr()
    shown = page.read_text() if form == "html" else printed.out
    for stream in (shown, printed.err):
        assert not {"\x1b", "\x07", "\u202e"} & set(stream)
        assert "bold" in stream
