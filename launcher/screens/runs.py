"""The home screen: every run of the folder."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
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
from kmtard.runs.listing import (
    BY_TITLE,
    MARK_MEANS,
    as_table,
    needs_explanation,
    states,
)
from kmtard.runs.log_file import last_lines
from kmtard.runs.outline import Line, outline
from kmtard.runs.query import read_query
from kmtard.runs.study_views import StudyView
from kmtard.runs.summary import Summary
from kmtard.runs.visible import visible
from launcher.bindings import bindings
from launcher.closing import is_open
from launcher.poller import Poller
from launcher.screens.marked_actions import MarkedActions
from launcher.screens.run_actions import RunActions
from launcher.widgets.key_bar import KeyBar
from launcher.widgets.run_detail import RunDetail
from launcher.widgets.run_table import FIXED, RunTable

FILTERS = "words, state:running w>66 seed:0 tag:final after:2026-11-01"
LOG_LINES = 12
LINES_READ = 60
FRAME = tuple("┏┃┡│├└┌")
PATIENCE = 10.0  # seconds to wait until the runs have been read again
TOGGLED = 200  # lines whose state is remembered


class RunsScreen(MarkedActions):
    """All runs and studies of the folder: sorted, filtered, marked, one in detail."""

    PAGE = "runs"
    CSS_PATH = "runs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("runs"), *bindings("run")]

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[Summary] = []
        self._studies_shown: tuple[StudyView, ...] = ()
        self._toggled: list[str] = []
        self._was_read = asyncio.Event()
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
        yield Input(
            placeholder=FILTERS,
            id="filter",
            compact=True,
        )
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
        self._toggled = settings.get("runs.toggled", list[str]())
        self.table.hidden = set(map(str, settings.get("runs.hidden", list[str]())))
        library = Library(self.app.runs_dir)
        self.set_class(not settings.get("runs.detail", True), "-no-detail")
        self.query_one("#filter").display = False
        self.table.focus()
        self._show()
        self._poller = Poller(
            self, lambda: partial(library.look, self.app.queue), self.take
        )

    def selected_run(self) -> Run | None:
        """Return the run under the cursor."""
        row = self.table.selected
        return row.run if row else None

    def marked_runs(self) -> Sequence[Run]:
        """Return the marked runs, in the order of the list."""
        marked = self.table.marked
        return [Run(row.run.path) for row in self._rows if row.run.path in marked]

    @on(RunActions.Noted)
    def _read_again(self) -> None:
        self._poller.now()

    def selected_line(self) -> Line | None:
        """Return the line under the cursor."""
        return self.table.line

    async def current_study(self, study: StudyView) -> StudyView:
        """Read a study again, and return it as it is now."""
        self._was_read.clear()
        self._poller.now()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._was_read.wait(), PATIENCE)
        path = study.folder.path
        return next((s for s in self._studies_shown if s.folder.path == path), study)

    def take(self, found: Scan) -> None:
        """Show the runs."""
        self._scan = found
        self._was_read.set()
        # The runs of a folder that cannot be read now are not gone.
        if not found.problem:
            self._rows, self._studies_shown = found.rows, found.studies
            self.table.marked &= {row.run.path for row in found.rows}
        self._show()
        self._read_log()

    @work(group="log", exclusive=True)
    async def _read_log(self) -> None:
        if path := _log_of(self.table.line):
            tail = path, await asyncio.to_thread(_last_lines, path)
            if tail != self._tail and is_open(self):
                self._tail = tail
                self._describe()

    @on(DataTable.RowHighlighted)
    def _go_to(self) -> None:
        self._describe()
        self._read_log()

    @on(Input.Changed, "#filter")
    def _show(self) -> None:
        """Show the runs and studies that the filter lets through."""
        query = self.query_one("#filter", Input).value
        lines = outline(
            self._rows,
            self._studies_shown,
            title=self._sorted_by,
            turned=self._turned,
            query=query,
            toggled=self._toggled,
        )
        self.table.show(lines, (self._sorted_by, self._falls))
        self._say(len(lines), query)
        self._describe()

    def _say(self, shown: int, query: str) -> None:
        folder = visible(str(self.app.runs_dir))
        if self._scan is None:
            empty = f"Reading {folder} ..."
        elif mistakes := read_query(query).mistakes:
            empty = visible(mistakes[0])
        elif query and (self._rows or self._studies_shown):
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
        self.query_one("#header", Static).update(self._header(folder))

    def _header(self, folder: str) -> Text:
        parts = [states(self._rows)]
        if self._studies_shown:
            count = len(self._studies_shown)
            parts.insert(0, "1 study" if count == 1 else f"{count} studies")
        if self._scan and self._scan.problem:
            parts.append(visible(self._scan.problem))
        if (shown := len(self.table.listed)) < len(self._rows):
            parts.append(f"{shown} shown")
        if marked := len(self.table.marked):
            parts.append(f"{marked} marked")
        parts.append(f"by {self._sorted_by} {'▼' if self._falls else '▲'}")
        if needs_explanation(self.table.listed):
            parts.append(MARK_MEANS)
        if self._scan and self._scan.queue:
            parts.append(f"queue: {self._scan.queue}")
        text = Text.assemble(("Runs", "bold"), "  ", " · ".join(parts))
        return text.append(f"  {folder}", "dim")

    def _describe(self) -> None:
        line = self.table.line
        self.read_state()
        self.refresh_when_moved()
        self.set_class(line is None, "-no-run")
        if line:
            path, lines = self._tail
            shown = lines if path == _log_of(line) else ()
            self.query_one(RunDetail).show(line, shown)

    @on(DataTable.RowSelected)
    def _open(self) -> None:
        """Open the run, or open and close what has several."""
        line = self.table.line
        if line is None:
            return
        if line.is_open is not None:
            self._toggle(line.key)
        elif line.row is not None:
            self.app.open_run(line.row.run.path)
        else:
            self.tell(f"{line.name} has no run yet: it is {line.state}.")

    @on(RunTable.Turned)
    def _turn_line(self, event: RunTable.Turned) -> None:
        self._toggle(event.key)

    def _toggle(self, key: str) -> None:
        kept = [each for each in self._toggled if each != key]
        self._toggled = kept if key in self._toggled else [*kept, key][-TOGGLED:]
        self.app.settings.set("runs.toggled", self._toggled)
        self._show()

    @on(DataTable.HeaderSelected)
    def _sort_by_heading(self, event: DataTable.HeaderSelected) -> None:
        title = self.table.title_of(event.column_index)
        self._sort(title, title == self._sorted_by and not self._turned)

    def action_sort(self) -> None:
        """Sort by the next column that is shown."""
        titles = self.table.titles
        known = self._sorted_by in titles
        following = titles.index(self._sorted_by) + 1 if known else 0
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
        """Mark or unmark the runs of the line, and go to the next one."""
        if line := self.table.line:
            paths = {row.run.path for row in line.runs}
            if paths <= self.table.marked:
                self.table.marked -= paths
            else:
                self.table.marked |= paths
            self._show()
            self.table.action_cursor_down()

    def action_compare(self) -> None:
        """Compare the marked runs, or those of the selected line."""
        marked, line = list(self.marked_runs()), self.table.line
        runs = marked or [Run(row.run.path) for row in (line.runs if line else ())]
        if runs:
            self.app.compare(runs)

    def action_mark_all(self) -> None:
        """Mark all runs that are listed, or none if they are marked."""
        paths = {row.run.path for row in self.table.listed}
        if paths <= self.table.marked:
            self.table.marked.clear()
        else:
            self.table.marked |= paths
        self._show()

    def action_columns(self) -> None:
        """Choose the columns."""
        from launcher.screens.curves import ColumnsScreen

        labels = {title: title for title in BY_TITLE if title not in FIXED}
        screen = ColumnsScreen(labels, self.table.hidden, self._hide)
        self.app.push_screen(screen)

    def _hide(self, hidden: set[str]) -> None:
        self.table.hidden = hidden
        self.app.settings.set("runs.hidden", sorted(hidden))
        self._show()

    def action_export(self) -> None:
        """Write the table to a file."""
        from kmtard.runs.tables import table_writers
        from launcher.screens.export import ExportScreen

        if rows := self.table.listed:
            writers = table_writers(as_table(rows))
            self.app.push_screen(ExportScreen("runs.csv", writers))

    def action_detail(self) -> None:
        """Show or hide what is below the list."""
        self.toggle_class("-no-detail")
        self.app.settings.set("runs.detail", not self.has_class("-no-detail"))


def _last_lines(path: Path) -> list[str]:
    """Return the end of a log, without tables: the one of a study is shown above."""
    lines = last_lines(path, LINES_READ)
    shown = [line.rstrip() for line in lines if line.strip()[:1] not in FRAME]
    return shown[-LOG_LINES:]


def _log_of(line: Line | None) -> Path | None:
    """Return the log whose end is shown below the list."""
    if line is None:
        return None
    if line.row is not None:
        return line.row.run.log_path
    return line.study.folder.log_path if line.study else None
