from __future__ import annotations

from pathlib import Path

import pytest

from kmtard.report import folder
from kmtard.report.drawings import Plane, Point
from kmtard.report.section import Section
from kmtard.runs import RunError
from kmtard.runs.tables import Table

pytestmark = pytest.mark.once("jax")

SECTIONS = [
    Section(
        "one",
        "One",
        [
            "Use `kmtard fit` with *care*.",
            Table(["a_b"], [["1"]]),
            Plane(points=[Point("a", 1, 2)], y_label="%", caption="a [plane]"),
        ],
        ["no `kmtard fit`"],
    ),
    Section("two", "Two"),
]


def test_the_folder_holds_page_text_tables_and_figures(tmp_path: Path) -> None:
    folder.write(tmp_path / "report", "Title", "Lead.", SECTIONS)
    files = {
        str(path.relative_to(tmp_path / "report"))
        for path in (tmp_path / "report").rglob("*")
        if path.is_file()
    }
    assert files == {
        *("report.html", "report.md"),
        *("tables/one-2.md", "tables/one-2.tex", "tables/one-2.csv"),
        *("figures/one-3.svg", "figures/one-3.png"),
    }
    text = (tmp_path / "report" / "report.md").read_text()
    assert text.splitlines() == [
        *("# Title", "", "Lead.", "", "## One", ""),
        *(r"Use `kmtard fit` with \*care\*.", ""),
        *("| a_b |", "| --- |", "| 1 |", ""),
        *(r"![a \[plane\]](figures/one-3.svg)", "", r"a \[plane\]", ""),
        *("## What is not in this report", "", "- One: no `kmtard fit`"),
    ]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "tables").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="received a link"):
        folder.write(tmp_path / "report", "Title", "Lead.", SECTIONS)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Cannot create"):
        folder.write(tmp_path / "file", "Title", "Lead.", SECTIONS)
