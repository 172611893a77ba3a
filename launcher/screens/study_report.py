"""The table of a study: one row per setting, the mean over its seeds."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from kmtard.runs import RunError
from kmtard.runs.groups import groups_table, without_shared
from kmtard.runs.studies import StudyFolder, collect_finished
from kmtard.runs.tables import Table, table_writers
from kmtard.runs.visible import visible
from launcher.bindings import bindings
from launcher.commands import command_text
from launcher.poller import Poller
from launcher.screens.base import LauncherScreen
from launcher.screens.export import ExportScreen
from launcher.widgets.key_bar import KeyBar
from launcher.widgets.text_table import TextTable

EMPTY = "None of its runs has finished and been evaluated yet."
Found = tuple[Table, list[str], str]
"""The table, what is left out of it, and how many runs have finished."""


class StudyReportScreen(LauncherScreen[None]):
    """The table of the finished runs of a study.

    Args:
        folder: of the study.
    """

    PAGE = "study_report"
    CSS_PATH = "report.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("study_report")

    def __init__(self, folder: StudyFolder) -> None:
        super().__init__()
        self._folder = folder
        self._found: Found | None = None
        self._is_writing = False

    def compose(self) -> ComposeResult:
        """Show the frame only: nothing has been read yet."""
        yield Static(id="header")
        with VerticalScroll(can_focus=False):
            yield Static("Reading the runs ...", id="empty")
            yield Static(id="settings-title", classes="title")
            yield TextTable(id="settings")
            yield Static(id="notes")
        yield KeyBar()

    def on_mount(self) -> None:
        """Show the name of the study, and start reading."""
        Poller(self, lambda: partial(_read, self._folder), self.take)

    def take(self, found: Found) -> None:
        """Show the table if it has changed."""
        if found == self._found:
            return
        self._found = found
        table, problems, state = found
        header = Text.assemble(
            ("Report", "bold"),
            f"  {visible(self._folder.path.name)}",
            (f"  {visible(state)}", "dim"),
        )
        self.query_one("#header", Static).update(header)
        shown = self.query_one("#settings", TextTable)
        shown.show(table)
        title = self.query_one("#settings-title", Static)
        title.update(Text(visible(table.title or "Over the seeds")))
        for each in (shown, title):
            each.display = bool(table.rows)
        self.query_one("#empty", Static).update(EMPTY)
        self.query_one("#empty").display = not table.rows
        if table.rows:
            shown.focus()
        notes = [Text(visible(each), "bold") for each in problems]
        notes += [Text(visible(each), "dim") for each in table.notes]
        notes.append(Text(visible(command_text(self._command())), "dim"))
        self.query_one("#notes", Static).update(Text("\n").join(notes))

    def unavailable(self, action: str) -> str:
        """Return why nothing can be written yet."""
        has_table = self._found is not None and bool(self._found[0].rows)
        is_refused = action in ("export", "page") and not has_table
        return "none of its runs has finished" if is_refused else ""

    def action_export(self) -> None:
        """Write the table to a file."""
        if self._found is not None:
            writers = table_writers(self._found[0])
            name = f"{self._folder.path.name}.csv"
            self.app.push_screen(ExportScreen(name, writers))

    def action_copy(self) -> None:
        """Copy the command line."""
        text = command_text(self._command())
        self.app.copy_to_clipboard(text)
        self.tell("Copied the command line.")

    def action_page(self) -> None:
        """Write the report in a process of its own."""
        if not self._is_writing:
            self._is_writing = True
            self.tell("Writing the report ...")
            self._write()

    @work(thread=True)
    def _write(self) -> None:
        done = subprocess.run(
            self._command(), capture_output=True, stdin=subprocess.DEVNULL, text=True
        )
        self._is_writing = False
        if not done.returncode:
            self.app.call_from_thread(self.tell, f"Written: {self._page}")
            return
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1] if lines else f"exit code {done.returncode}"
        self.app.call_from_thread(self.app.report, f"kmtard report: {reason}")

    @property
    def _page(self) -> Path:
        return self._folder.path / "report.html"

    def _command(self) -> list[str]:
        folder, page = _typed(self._folder.path), _typed(self._page)
        return [sys.executable, "-m", "kmtard.report", folder, "--html", page]


def _typed(path: Path) -> str:
    """Return a path as one types it: relative to the working folder inside it."""
    short = os.path.relpath(path)
    return str(path) if short.startswith((os.pardir, "-")) else short


def _read(folder: StudyFolder) -> Found:
    try:
        record = folder.read()
        groups, problems = collect_finished(folder.runs())
    except RunError as error:
        return Table((), ()), [str(error)], ""
    count = sum(len(group.w_robust) for group in groups)
    state = f"{count} of {len(record.cells)} runs finished"
    table = without_shared(groups_table(groups)) if groups else Table((), ())
    return table, problems, state
