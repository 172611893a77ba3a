"""How the networks of a run stand against attacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from kmtard.runs import Run
from kmtard.runs.result_tables import about, attacks_table, has_details, networks_table
from kmtard.runs.results import Results, read_all
from kmtard.runs.tables import Table, table_writers
from kmtard.runs.visible import visible
from launcher.screens.export import ExportScreen
from launcher.screens.run_actions import RunActions
from launcher.screens.watching import WatchingScreen
from launcher.widgets.key_bar import KeyBar
from launcher.widgets.text_table import TextTable

TABLES = {
    "networks": "At the end of the training",
    "attacks": "Under each attack",
}

Content = tuple[list[Results], list[str]]
"""The records of the run, and why others cannot be read."""


class ReportScreen(RunActions, WatchingScreen):
    """The tables of `evaluation.json`, and what is to be known of them.

    Args:
        run: its folder.
    """

    HELP = """
# Report

How the networks of the run stand against the attacks, in %: those of its recipe at the
end of the training, and those of an evaluation on their own (**e** begins one). 95 % is
the Wilson interval; *fooled* counts images; queries, forward and backward passes are
means of the attacked images.

**Tab** goes to the other table; **x** writes the one with the cursor to a CSV, Markdown
or LaTeX file.
"""
    CSS_PATH = "report.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "evaluate_run", "Evaluate", id="run.evaluate"),
        Binding("x", "export", "Export", id="report.export"),
        Binding("escape", "leave", "Back", id="report.leave"),
    ]

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run
        self._content: Content | None = None

    def compose(self) -> ComposeResult:
        """Show the frame alone: nothing has been read yet."""
        yield Static(id="header")
        with VerticalScroll(can_focus=False):
            yield Static(id="empty")
            for name, title in TABLES.items():
                yield Static(title, id=f"{name}-title", classes="title")
                yield TextTable(id=name)
            yield Static(id="notes")
        yield KeyBar()

    def on_mount(self) -> None:
        """Say whose report it is."""
        name = visible(self._run.name)
        self.query_one("#header", Static).update(Text(f"Report  {name}"))

    def selected_run(self) -> Run:
        """Return the run that the actions are for."""
        return self._run

    def look(self) -> Callable[[], Content]:
        """Return what reads the records: an evaluation may be writing one."""
        path = self._run.path
        return lambda: read_all(path)

    def take(self, found: Content) -> None:
        """Show the records, if they are others."""
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

    def action_leave(self) -> None:
        """Go back to where this came from."""
        self.dismiss()


def _empty(problems: Sequence[str]) -> str:
    if problems:
        return f"{problems[0]} Press e to evaluate again."
    return "Not evaluated yet: press e to evaluate, or let the training end."


def _tables(records: Sequence[Results]) -> dict[str, Table]:
    """Return the networks of the first record, and its student under each attack.

    What version 0.1 wrote at the end of a training has no second table; a later
    evaluation of the same run has.
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
