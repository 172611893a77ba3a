from __future__ import annotations

import csv
import io

import pytest
from launcher.runs.exports import Table, table_writers, to_csv, to_latex, to_markdown

from kmtard.runs import RunError

TABLE = Table(
    ["run", "W-Robust", "Δ W-Robust"],
    [["a|b_c & 50 % #1", "86.50", "-0.25"], ["=cmd()\x1b\n", "-", "+1.00"]],
    {"W-Robust", "Δ W-Robust"},
)


def test_csv_holds_the_cells_and_no_formula():
    rows = list(csv.reader(io.StringIO(to_csv(TABLE))))

    assert rows == [
        ["run", "W-Robust", "Δ W-Robust"],
        ["a|b_c & 50 % #1", "86.50", "-0.25"],
        ["'=cmd()��", "", "+1.00"],
    ]


@pytest.mark.parametrize("start", "=+-@")
def test_texts_that_begin_like_a_formula_are_quoted(start):
    table = Table(["a,b"], [[f'{start}x,"y"']])

    assert list(csv.reader(io.StringIO(to_csv(table))))[1] == [f'\'{start}x,"y"']


def test_markdown_keeps_its_columns_and_shows_the_text_as_it_is():
    assert to_markdown(TABLE).splitlines() == [
        "| run | W-Robust | Δ W-Robust |",
        "| --- | ---: | ---: |",
        r"| a\|b_c & 50 % #1 | 86.50 | -0.25 |",
        "| =cmd()�� | - | +1.00 |",
    ]
    assert r"\<b\>\*x\*\_" in to_markdown(Table(["a"], [["<b>*x*_"]]))


def test_latex_escapes_what_has_a_meaning():
    table = Table(["a", "n"], [["\\ { } % & # $ _ ~ ^ ± Δ", "1"]], {"n"})

    assert to_latex(table).splitlines() == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"a & n \\",
        r"\midrule",
        r"\textbackslash{} \{ \} \% \& \# \$ \_ \textasciitilde{} "
        r"\textasciicircum{} $\pm$ $\Delta$ & 1 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


@pytest.mark.parametrize(
    ("ending", "form"), [(".csv", to_csv), (".md", to_markdown), (".tex", to_latex)]
)
def test_the_ending_chooses_the_format(tmp_path, ending, form):
    path = tmp_path / f"table{ending}"
    table_writers(TABLE)[ending](path)

    assert path.read_text(encoding="utf-8") == form(TABLE)


def test_names_that_are_no_text_can_be_written(tmp_path):
    table_writers(Table(["\udcff"], [["\udcff"]]))[".md"](tmp_path / "table.md")

    assert "�" in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(RunError, match="Cannot write .*No such file"):
        table_writers(TABLE)[".csv"](tmp_path / "none" / "table.csv")
