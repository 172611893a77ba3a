from __future__ import annotations

import csv
import io

import pytest
from rich.console import Console

from kmtard.runs import RunError
from kmtard.runs.tables import (
    Table,
    table_writers,
    to_csv,
    to_html,
    to_latex,
    to_markdown,
    to_rich,
)

pytestmark = pytest.mark.once("torch")

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
    with pytest.raises(RunError, match="Cannot write .*there is no folder"):
        table_writers(TABLE)[".csv"](tmp_path / "none" / "table.csv")


NOTED = Table(["a"], [["1"]], title="T", notes=["n_"], warnings=[("w", "m")])


def test_title_notes_and_warnings_stand_around_the_table():
    markdown = to_markdown(NOTED)
    assert markdown.split("\n\n") == [
        *("T:", "| a |\n| --- |\n| 1 |", "- n\\_", "Warnings:", "- **w**: m\n"),
    ]
    assert to_latex(NOTED).splitlines()[:3] == ["% T", "% n_", "% warning: w: m"]
    assert to_csv(NOTED) == "a\n1\n"


def test_cells_without_a_value_can_have_a_text_in_csv():
    assert to_csv(Table(["a", "b"], [["-", "-0.1"]]), absent="-") == "a,b\n-,-0.1\n"


def test_the_terminal_shows_text_as_it_is():
    screen = Console(width=60)
    cells = [["[b]x\x1b[/b]", "-0.50"]]
    table = Table(["run", "n"], cells, {"n"}, title="[i]t", notes=["[u]n"])
    with screen.capture() as shown:
        screen.print(to_rich(table))
    for text in ("[b]x\N{REPLACEMENT CHARACTER}[/b]", "-0.50", "[i]t", "[u]n"):
        assert text in shown.get()
    assert to_rich(table).columns[1].justify == "right"


def test_html_escapes_everything_and_marks_numbers_and_code():
    evil = "<b>&\x1b"
    shown = "&lt;b&gt;&amp;\N{REPLACEMENT CHARACTER}"
    table = Table(
        [evil, "n", "command"],
        [[evil, "1", "kmtard fit"]],
        {"n"},
        title=evil,
        notes=[evil],
        warnings=[(evil, "x")],
        code=["command"],
    )
    assert to_html(table).splitlines() == [
        f"<table><caption>{shown}</caption>",
        f'<thead><tr><th>{shown}</th><th class="number">n</th>'
        '<th class="code">command</th></tr></thead>',
        f'<tbody><tr><td>{shown}</td><td class="number">1</td>'
        '<td class="code">kmtard fit</td></tr></tbody></table>',
        f'<ul class="notes"><li>{shown}</li><li><b>{shown}</b>: x</li></ul>',
    ]
    assert "caption" not in to_html(Table(["a"], [])) and "ul" not in to_html(TABLE)
