"""Tables of text, for the terminal (by Rich), CSV, Markdown, LaTeX and HTML."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape
from rich.table import Table as RichTable

from kmtard.runs.files import write_atomic
from kmtard.runs.formats import ABSENT
from kmtard.runs.visible import visible

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "†": r"\textdagger{}",
    **{char: f"\\{char}" for char in "%_&#${}"},
}
MARKDOWN = re.compile(r"[\\`*\[\]<>|~]|\b_|_\b")
FORMULA = tuple("=+-@")


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        header: names of the columns.
        rows: cells of each row; `-` for a cell without a value.
        numbers: names of the columns that hold numbers. All others hold words.
        title: what the table shows; empty for no title.
        notes: lines below the table, in every format except CSV.
        warnings: name and message of each warning about the figures. The table in the
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Collection[str] = ()
    title: str = ""
    notes: Sequence[str] = ()
    warnings: Sequence[tuple[str, str]] = ()
    code: Collection[str] = ()


def to_rich(table: Table) -> RichTable:
    """Return the table for the terminal, with text that is safe to show."""
    shown = RichTable(
        title=rich_text(table.title) or None,
        caption="\n".join(map(rich_text, table.notes)) or None,
        caption_justify="left",
    )
    for position, name in enumerate(table.header):
        is_number = name in table.numbers
        # Text that does not fit is wrapped, not cut off.
        shown.add_column(
            # Text in parentheses goes to the next line to keep the column narrow.
            rich_text(name).replace(" (", "\n("),
            justify="right" if is_number else "left",
            no_wrap=position == 0,
            overflow="fold",
        )
    for row in table.rows:
        shown.add_row(*map(rich_text, row))
    return shown


def rich_text(text: str) -> str:
    """Return any text escaped for Rich, so that it is shown as it is."""
    return escape(visible(text))


def to_csv(table: Table, *, absent: str = "") -> str:
    """Return header and cells as comma-separated values.

    A text that a spreadsheet would run as a formula gets an apostrophe in front.

    Args:
        table: the table. Title, notes and warnings are left out.
        absent: text for a cell without a value.

    Example:
        >>> print(to_csv(Table(["run", "clean"], [["a", "98.89"], ["b", "-"]])), end="")
        run,clean
        a,98.89
        b,
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(_csv_cell, table.header))
    writer.writerows(
        [absent if cell == ABSENT else _csv_cell(cell) for cell in row]
        for row in table.rows
    )
    return buffer.getvalue()


def _csv_cell(cell: str) -> str:
    cell = visible(cell)
    return f"'{cell}" if cell.startswith(FORMULA) and not _is_number(cell) else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def to_markdown(table: Table) -> str:
    """Return title, table, notes and warnings in Markdown, with the text escaped."""
    rule = ["---:" if name in table.numbers else "---" for name in table.header]
    rows = [list(map(markdown_text, row)) for row in table.rows]
    header = list(map(markdown_text, table.header))
    parts = [[f"| {' | '.join(cells)} |" for cells in (header, rule, *rows)]]
    if table.title:
        parts.insert(0, [f"{markdown_text(table.title)}:"])
    if table.notes:
        parts.append([f"- {markdown_text(note)}" for note in table.notes])
    if table.warnings:
        parts.append(["Warnings:"])
        parts.append(
            [
                f"- **{markdown_text(name)}**: {markdown_text(message)}"
                for name, message in table.warnings
            ]
        )
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def markdown_text(text: str) -> str:
    """Return any text escaped for Markdown, so that it is shown as it is."""
    return MARKDOWN.sub(lambda found: f"\\{found[0]}", visible(text))


def to_latex(table: Table) -> str:
    """Return a LaTeX `tabular` for the package booktabs, with the text escaped.

    Title, notes and warnings become comments above it.
    """
    columns = ("r" if name in table.numbers else "l" for name in table.header)
    head, *body = (
        " & ".join(_latex_text(cell) for cell in cells) + r" \\"
        for cells in (table.header, *table.rows)
    )
    notes = [*([table.title] if table.title else []), *table.notes]
    notes += [f"warning: {name}: {message}" for name, message in table.warnings]
    lines = [
        *(f"% {visible(note)}" for note in notes),
        rf"\begin{{tabular}}{{{''.join(columns)}}}",
        *(r"\toprule", head, r"\midrule", *body, r"\bottomrule"),
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _latex_text(text: str) -> str:
    return "".join(LATEX.get(char, char) for char in visible(text))


def to_html(table: Table) -> str:
    """Return a `<table>` with the text escaped, followed by its notes and warnings.

    Columns of numbers and of code have the classes `number` and `code`.

    Example:
        >>> "<td>&lt;b&gt;</td>" in to_html(Table(["run"], [["<b>"]]))
        True
    """
    kinds = [
        ' class="number"'
        if name in table.numbers
        else ' class="code"'
        if name in table.code
        else ""
        for name in table.header
    ]

    def line(tag: str, cells: Sequence[str]) -> str:
        pairs = zip(kinds, cells, strict=True)
        inner = "".join(
            f"<{tag}{kind}>{html_text(cell)}</{tag}>" for kind, cell in pairs
        )
        return f"<tr>{inner}</tr>"

    caption = f"<caption>{html_text(table.title)}</caption>" if table.title else ""
    body = "\n".join(line("td", row) for row in table.rows)
    parts = [
        f"<table>{caption}\n<thead>{line('th', table.header)}</thead>\n"
        f"<tbody>{body}</tbody></table>"
    ]
    notes = [html_text(note) for note in table.notes]
    notes += [
        f"<b>{html_text(name)}</b>: {html_text(message)}"
        for name, message in table.warnings
    ]
    if notes:
        items = "".join(f"<li>{note}</li>" for note in notes)
        parts.append(f'<ul class="notes">{items}</ul>')
    return "\n".join(parts) + "\n"


def html_text(text: str) -> str:
    """Return any text escaped for HTML, without characters that are unsafe to show."""
    return html.escape(visible(text))


FORMATS: dict[str, Callable[[Table], str]] = {
    ".csv": to_csv,
    ".md": to_markdown,
    ".tex": to_latex,
}


def table_writers(table: Table) -> dict[str, Callable[[Path], None]]:
    """Return a function for each file ending that writes the table to a path.

    Each function raises `RunError` if the file cannot be written.
    """

    def writer(form: Callable[[Table], str]) -> Callable[[Path], None]:
        return lambda path: write_atomic(path, form(table))

    return {ending: writer(form) for ending, form in FORMATS.items()}
