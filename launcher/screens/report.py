"""The accuracies of a run's networks on clean images and under attacks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from kmtard.runs import Run
from kmtard.runs.result_tables import about, attacks_table, has_details, networks_table
from kmtard.runs.results import Results, read_all
from kmtard.runs.tables import Table, table_writers
from kmtard.runs.visible import visible
from launcher.bindings import bindings
from launcher.poller import Poller
from launcher.screens.export import ExportScreen
from launcher.screens.run_actions import RunActions
from launcher.widgets.key_bar import KeyBar
from launcher.widgets.text_table import TextTable

TABLES = {
    "networks": "At the end of the training",
    "attacks": "Under each attack",
}

Content = tuple[list[Results], list[str]]
"""The records of the run, and why the others cannot be read."""


class ReportScreen(RunActions):
    """The tables of `evaluation.json`, with notes and warnings.

    Args:
        run: its folder.
    """

    PAGE = "report"
    CSS_PATH = "report.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("run", "evaluate", "robustness"),
        *bindings("report"),
    ]

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run
        self._content: Content | None = None

    def compose(self) -> ComposeResult:
        """Show the frame only: nothing has been read yet."""
        yield Static(id="header")
        with VerticalScroll(can_focus=False):
            yield Static(id="empty")
            for name, title in TABLES.items():
                yield Static(title, id=f"{name}-title", classes="title")
                yield TextTable(id=name)
            yield Static(id="notes")
        yield KeyBar()

    def on_mount(self) -> None:
        """Show the name of the run, and start reading."""
        name = visible(self._run.name)
        self.query_one("#header", Static).update(Text(f"Report  {name}"))
        # An evaluation may be writing a record.
        Poller(self, lambda: partial(read_all, self._run.path), self.take)

    def selected_run(self) -> Run:
        """Return the run that the actions are for."""
        return self._run

    def take(self, found: Content) -> None:
        """Show the records if they have changed."""
        if found != self._content:
            self._content = found
            self._show(*found)

    def _show(self, records: list[Results], problems: list[str]) -> None:
        found, notes = _tables(records), _notes(records)
        for name in TABLES:
            table = found.get(name, Table((), ()))
            self.query_one(f"#{name}", TextTable).show(table)
            for each in (f"#{name}", f"#{name}-title"):
                self.query_one(each).display = bool(table.rows)
        empty = self.query_one("#empty", Static)
        empty.display = not found
        empty.update(Text(visible(_empty(problems))))
        if found and not isinstance(self.focused, TextTable):
            self.query_one(f"#{next(iter(found))}").focus()
        warnings = [Text(visible(each), "bold") for each in _warnings(records)]
        if found:
            warnings += [Text(visible(each), "bold") for each in problems]
        notes_text = [Text(visible(each), "dim") for each in notes]
        self.query_one("#notes", Static).update(Text("\n").join(warnings + notes_text))

    def action_export(self) -> None:
        """Write the table with the cursor to a file."""
        if isinstance(self.focused, TextTable) and self.focused.shown.rows:
            writers = table_writers(self.focused.shown)
            self.app.push_screen(ExportScreen(f"{self._run.name}.csv", writers))


def _empty(problems: Sequence[str]) -> str:
    if problems:
        return f"{problems[0]} Press e to evaluate again."
    return "Not evaluated yet: press e to evaluate, or let the training end."


def _tables(records: Sequence[Results]) -> dict[str, Table]:
    """Return the networks of the first record, and a student under each attack.

    The record that version 0.1 wrote at the end of a training has no second table, but
    a later evaluation of the same run has.
    """
    tables = {}
    if records:
        tables["networks"] = networks_table(records[0])
    for record in records:
        if has_details(record.student):
            tables["attacks"] = attacks_table(record, record.student)
            break
    return tables


def _notes(records: Sequence[Results]) -> list[str]:
    return [f"{about(each, each.student)}: {each.path}" for each in records]


def _warnings(records: Sequence[Results]) -> list[str]:
    found = (finding for each in records for finding in each.findings)
    return [f"{name}: {message}" for name, message in dict.fromkeys(found)]
