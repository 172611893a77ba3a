"""The entries of the queue as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual.binding import BindingType
from textual.widgets import DataTable

from kmtard.runs.formats import day
from kmtard.runs.queue.entry import Entry
from kmtard.runs.visible import shortened, visible
from launcher.bindings import bindings
from launcher.widgets.run_table import theme_style

NARROW = 60
SIGNS = {
    "waiting": ("○", ""),
    "running": ("▶", "text-primary"),
    "stopping": ("▶", "text-warning"),
    "finished": ("✓", "text-success"),
    "failed": ("✗", "text-error"),
    "stopped": ("■", "text-warning"),
    "unknown": ("?", "text-warning"),
}
"""State -> its sign and the name of its color in the theme, if it has one."""

STATE, BACKEND, ADDED = 12, 11, 13
SHORTEST_TITLE = 8


class QueueTable(DataTable[Text]):
    """Entries by their ids: the cursor stays with its entry."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("queue", "open"),
        *bindings("every", "top", "bottom"),
    ]

    def __init__(self, **options: Any) -> None:
        super().__init__(cursor_type="row", cell_padding=0, **options)
        self._entries: list[Entry] = []
        self._drawn: tuple[object, ...] = ()

    def on_mount(self) -> None:
        """Follow changes of the theme."""
        self.app.theme_changed_signal.subscribe(self, lambda theme: self._draw())

    def on_resize(self) -> None:
        """Fit the columns to the width."""
        self._draw()

    @property
    def selected(self) -> Entry | None:
        """The entry under the cursor."""
        cursor = self.cursor_row
        return self._entries[cursor] if 0 <= cursor < len(self._entries) else None

    def show(self, entries: Sequence[Entry]) -> None:
        """Show these entries in their order."""
        selected = self.selected
        self._entries = list(entries)
        ids = [entry.id for entry in entries]
        row = ids.index(selected.id) if selected and selected.id in ids else None
        self._draw(row)

    def _draw(self, row: int | None = None) -> None:
        widths = self._widths()
        lines = [self._line(entry, widths) for entry in self._entries]
        drawn = (self.app.theme, widths, lines)
        if drawn == self._drawn and row in (None, self.cursor_row):
            return
        self._drawn = drawn
        cursor, scroll = self.cursor_row if row is None else row, self.scroll_y
        with self.prevent(DataTable.RowHighlighted):
            self.clear(columns=True)
            for title, width in widths:
                self.add_column(title, width=width)
            for line in lines:
                self.add_row(*line)
            self.move_cursor(row=cursor)
        self.scroll_to(y=scroll, animate=False)

    def _widths(self) -> tuple[tuple[str, int], ...]:
        """Return title and width of the columns that fit."""
        width = self.size.width - 1
        if self.app.size.width < NARROW:
            return (("state", STATE), ("title", max(SHORTEST_TITLE, width - STATE)))
        left = width - STATE - BACKEND - ADDED
        longest = max((cell_len(_run_of(entry)) for entry in self._entries), default=0)
        run = max(len("run") + 1, min(left // 2, longest + 1))
        return (
            ("state", STATE),
            ("title", max(SHORTEST_TITLE, left - run)),
            ("run", run),
            ("backend", BACKEND),
            ("added", ADDED),
        )

    def _line(self, entry: Entry, widths: Sequence[tuple[str, int]]) -> list[Text]:
        word = entry.word
        sign, colour = SIGNS[word]
        cells = {
            "state": Text(
                f"{sign} {word}", theme_style(self.app, colour) if colour else ""
            ),
            "title": Text(visible(entry.title)),
            "run": Text(_run_of(entry)),
            "backend": Text(visible(entry.backend)),
            "added": Text(day(entry.added)),
        }
        for title, width in widths:
            cells[title].plain = _fitted(cells[title].plain, width)
        return [cells[title] for title, _ in widths]


def _run_of(entry: Entry) -> str:
    return visible(Path(entry.run).name) if entry.run else "-"


def _fitted(text: str, width: int) -> str:
    if cell_len(text) >= width:
        text = shortened(text, width - 1)
    return set_cell_size(text, width)
