"""How the networks of a run were judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from kmtard.runs import Run
from kmtard.runs.visible import visible
from launcher.runs.documents import read_json
from launcher.runs.evaluations import about, attacks_table, networks_table, warnings
from launcher.runs.exports import table_writers
from launcher.screens.export import ExportScreen
from launcher.screens.run_actions import RunActions
from launcher.screens.watching import WatchingScreen
from launcher.widgets.key_bar import KeyBar
from launcher.widgets.text_table import TextTable

TABLES = {
    "networks": "At the end of the training",
    "attacks": "Under each attack",
}

Content = tuple[dict[str, Any], bool]
"""What the file holds, empty if that is no object, and whether it is there."""


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
        """Return what reads the file: an evaluation may be writing it."""
        path = self._run.evaluation_path
        return lambda: (read_json(path), path.exists())

    def take(self, found: Content) -> None:
        """Show the file, if it is another."""
        if found != self._content:
            self._content = found
            self._show(*found)

    def _show(self, report: dict[str, Any], exists: bool) -> None:
        found = {"networks": networks_table(report), "attacks": attacks_table(report)}
        for name, table in found.items():
            self.query_one(f"#{name}", TextTable).show(table)
            for each in (f"#{name}", f"#{name}-title"):
                self.query_one(each).display = bool(table.rows)
        shown = [name for name, table in found.items() if table.rows]
        path = self._run.evaluation_path
        empty = self.query_one("#empty", Static)
        empty.display = not shown
        empty.update(Text(visible(_empty(exists, str(path)))))
        if shown and not isinstance(self.focused, TextTable):
            self.query_one(f"#{shown[0]}").focus()
        lines = [Text(visible(each), "bold") for each in warnings(report)]
        if shown:
            lines += [Text(visible(about(report))), Text(visible(str(path)), "dim")]
        self.query_one("#notes", Static).update(Text("\n").join(lines))

    def action_export(self) -> None:
        """Write the table with the cursor to a file."""
        if isinstance(self.focused, TextTable) and self.focused.shown.rows:
            writers = table_writers(self.focused.shown)
            self.app.push_screen(ExportScreen(f"{self._run.name}.csv", writers))

    def action_leave(self) -> None:
        """Go back to where this came from."""
        self.dismiss()


def _empty(exists: bool, path: str) -> str:
    if exists:
        return f"{path} cannot be read as an evaluation. Press e to evaluate again."
    return "Not judged yet: press e to evaluate, or let the training end."
