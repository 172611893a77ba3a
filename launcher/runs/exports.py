"""Tables as files: CSV, Markdown, LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from kmtard.runs import write_atomic
from kmtard.runs.visible import visible

ABSENT = "-"
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    **{char: f"\\{char}" for char in "%_&#${}"},
}
MARKDOWN = re.compile(r"[\\`*\[\]<>|~]|\b_|_\b")
FORMULA = tuple("=+-@")


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        header: names of the columns.
        rows: cells of each row; `-` for one without a value.
        numbers: names of the columns that hold numbers, the others hold words.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Collection[str] = ()


def to_csv(table: Table) -> str:
    """Return the table as comma-separated values.

    A text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.header)
    writer.writerows([_csv_cell(cell) for cell in row] for row in table.rows)
    return buffer.getvalue()


def _csv_cell(cell: str) -> str:
    if cell == ABSENT:
        return ""
    cell = visible(cell)
    return f"'{cell}" if cell.startswith(FORMULA) and not _is_number(cell) else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def to_markdown(table: Table) -> str:
    """Return the table in Markdown, its text escaped."""
    rule = ["---:" if name in table.numbers else "---" for name in table.header]
    rows = [[_markdown_cell(cell) for cell in row] for row in table.rows]
    header = [_markdown_cell(cell) for cell in table.header]
    lines = (f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))
    return "\n".join(lines) + "\n"


def _markdown_cell(cell: str) -> str:
    return MARKDOWN.sub(lambda found: f"\\{found[0]}", visible(cell))


def to_latex(table: Table) -> str:
    """Return a `tabular` for booktabs, its text escaped."""
    columns = ("r" if name in table.numbers else "l" for name in table.header)
    head, *body = (
        " & ".join(_latex_cell(cell) for cell in cells) + r" \\"
        for cells in (table.header, *table.rows)
    )
    lines = [
        rf"\begin{{tabular}}{{{''.join(columns)}}}",
        *(r"\toprule", head, r"\midrule", *body, r"\bottomrule"),
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _latex_cell(cell: str) -> str:
    return "".join(LATEX.get(char, char) for char in visible(cell))


FORMATS = {".csv": to_csv, ".md": to_markdown, ".tex": to_latex}


def table_writers(table: Table) -> dict[str, Callable[[Path], None]]:
    """Return what writes a table, by the ending of the file's name.

    Each raises `RunError` if the file cannot be written.
    """

    def writer(form: Callable[[Table], str]) -> Callable[[Path], None]:
        return lambda path: write_atomic(path, form(table))

    return {ending: writer(form) for ending, form in FORMATS.items()}
