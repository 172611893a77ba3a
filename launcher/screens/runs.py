"""The home screen: every run of the folder."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import DataTable, Input, Static

from kmtard.runs import Run
from kmtard.runs.library import Library, Scan
from kmtard.runs.listing import BY_TITLE, as_table, matches, ordered, states
from kmtard.runs.log_file import last_lines
from kmtard.runs.summary import Summary
from kmtard.runs.tables import table_writers
from kmtard.runs.visible import visible
from launcher.bindings import bindings
from launcher.closing import is_open
from launcher.poller import Poller
from launcher.screens.export import ExportScreen
from launcher.screens.run_actions import RunActions
from launcher.widgets.key_bar import KeyBar
from launcher.widgets.run_detail import RunDetail
from launcher.widgets.run_table import RunTable

LOG_LINES = 12


class RunsScreen(RunActions):
    """All runs of the folder: sorted, filtered, marked, one of them in detail."""

    PAGE = "runs"
    CSS_PATH = "runs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("runs"), *bindings("run")]

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[Summary] = []
        self._scan: Scan | None = None
        self._tail: tuple[Path | None, list[str]] = (None, [])
        self._sorted_by, self._turned = "started", False

    @property
    def table(self) -> RunTable:
        """The list."""
        return self.query_one(RunTable)

    @property
    def _falls(self) -> bool:
        return BY_TITLE[self._sorted_by].falls != self._turned

    def compose(self) -> ComposeResult:
        """Show the frame only: the folder has not been read yet."""
        yield Static(id="header")
        yield Input(placeholder="words, or state:running", id="filter", compact=True)
        yield Static("Reading the runs ...", id="empty")
        yield RunTable(id="runs")
        yield RunDetail(id="detail")
        yield KeyBar()

    def on_mount(self) -> None:
        """Restore what the user chose, and start reading."""
        settings = self.app.settings
        title = settings.get("runs.sort", "started")
        self._sorted_by = title if title in BY_TITLE else "started"
        self._turned = settings.get("runs.turned", False)
        library = Library(self.app.runs_dir)
        self.set_class(not settings.get("runs.detail", True), "-no-detail")
        self.query_one("#filter").display = False
        self.table.focus()
        self._show()
        Poller(self, lambda: partial(library.look, self.app.queue), self.take)

    def selected_run(self) -> Run | None:
        """Return the run under the cursor."""
        row = self.table.selected
        return row.run if row else None

    def take(self, found: Scan) -> None:
        """Show the runs."""
        self._scan = found
        # The runs of a folder that cannot be read now are not gone.
        if not found.problem:
            self._rows = found.rows
            self.table.marked &= {row.run.path for row in found.rows}
        self._show()
        self._read_log(self.selected_run())

    @work(group="log", exclusive=True)
    async def _read_log(self, run: Run | None) -> None:
        if run:
            tail = (
                run.path,
                await asyncio.to_thread(last_lines, run.log_path, LOG_LINES),
            )
            if tail != self._tail and is_open(self):
                self._tail = tail
                self._describe()

    @on(DataTable.RowHighlighted)
    def _go_to(self) -> None:
        self._describe()
        self._read_log(self.selected_run())

    @on(Input.Changed, "#filter")
    def _show(self) -> None:
        """Show the runs that the filter lets through."""
        query = self.query_one("#filter", Input).value
        found = [row for row in self._rows if matches(row, query)]
        rows = ordered(found, self._sorted_by, turned=self._turned)
        self.table.show(rows, (self._sorted_by, self._falls))
        self._say(len(rows), query)
        self._describe()

    def _say(self, shown: int, query: str) -> None:
        folder = visible(str(self.app.runs_dir))
        if self._scan is None:
            empty = f"Reading {folder} ..."
        elif query and self._rows:
            empty = "No run matches the filter. Escape removes it."
        elif self._scan.problem:
            empty = visible(self._scan.problem)
        else:
            empty = (
                f"No runs in {folder} yet: press 2 to pick a recipe, "
                "or run python -m kmtard.fit RECIPE"
            )
        self.query_one("#empty", Static).update(Text(empty))
        self.query_one("#empty").display = not shown
        self.table.display = bool(shown)
        if shown and self.focused is None:
            self.table.focus()
        self.query_one("#header", Static).update(self._header(shown, folder))

    def _header(self, shown: int, folder: str) -> Text:
        parts = [states(self._rows)]
        if self._scan and self._scan.problem:
            parts.append(visible(self._scan.problem))
        if shown < len(self._rows):
            parts.append(f"{shown} shown")
        if marked := len(self.table.marked):
            parts.append(f"{marked} marked")
        parts.append(f"by {self._sorted_by} {'▼' if self._falls else '▲'}")
        if self._scan and self._scan.queue:
            parts.append(f"queue: {self._scan.queue}")
        text = Text.assemble(("Runs", "bold"), "  ", " · ".join(parts))
        return text.append(f"  {folder}", "dim")

    def _describe(self) -> None:
        row = self.table.selected
        self.read_state()
        self.set_class(row is None, "-no-run")
        if row:
            path, lines = self._tail
            shown = lines if path == row.run.path else ()
            self.query_one(RunDetail).show(row, shown)

    @on(DataTable.RowSelected)
    def _open(self) -> None:
        if run := self.selected_run():
            self.app.open_run(run.path)

    @on(DataTable.HeaderSelected)
    def _sort_by_heading(self, event: DataTable.HeaderSelected) -> None:
        title = self.table.title_of(event.column_index)
        self._sort(title, title == self._sorted_by and not self._turned)

    def action_sort(self) -> None:
        """Sort by the next column."""
        titles = list(BY_TITLE)
        following = titles.index(self._sorted_by) + 1
        self._sort(titles[following % len(titles)], False)

    def action_turn(self) -> None:
        """Reverse the order."""
        self._sort(self._sorted_by, not self._turned)

    def _sort(self, title: str, turned: bool) -> None:
        self._sorted_by, self._turned = title, turned
        self.app.settings.set("runs.sort", title)
        self.app.settings.set("runs.turned", turned)
        self._show()

    def action_filter(self) -> None:
        """Edit the filter."""
        field = self.query_one("#filter")
        field.display = True
        field.focus()

    @on(Input.Submitted, "#filter")
    def _leave_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.display = bool(field.value)
        self.table.focus()

    def action_clear(self) -> None:
        """Remove the filter, or the marks if there is none."""
        field = self.query_one("#filter", Input)
        if field.display:
            field.value = ""
            self._leave_filter()
        else:
            self.table.marked.clear()
            self._show()

    def action_mark(self) -> None:
        """Mark or unmark the run, and go to the next one."""
        if run := self.selected_run():
            self.table.marked ^= {run.path}
            self._show()
            self.table.action_cursor_down()

    def action_compare(self) -> None:
        """Compare the marked runs, or show the selected one alone."""
        marked = [row.run for row in self._rows if row.run.path in self.table.marked]
        if runs := marked or [run for run in [self.selected_run()] if run]:
            self.app.compare(runs)

    def action_export(self) -> None:
        """Write the table to a file."""
        if rows := self.table.listed:
            writers = table_writers(as_table(rows))
            self.app.push_screen(ExportScreen("runs.csv", writers))

    def action_detail(self) -> None:
        """Show or hide what is below the list."""
        self.toggle_class("-no-detail")
        self.app.settings.set("runs.detail", not self.has_class("-no-detail"))
