"""A table of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.binding import BindingType
from textual.coordinate import Coordinate
from textual.widgets import DataTable

from kmtard.runs.tables import Table
from kmtard.runs.visible import shortened, shortened_apart, visible
from launcher.bindings import bindings

SHORTEST = 12
Signs = Mapping[str, Text]


class TextTable(DataTable[Text]):
    """A `Table`, whose cursor stays in place when the rows change.

    Attributes:
        shown: the table.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("every", "top", "bottom")
    DEFAULT_CSS = """
    TextTable > .datatable--fixed { background: $surface; }
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(cursor_type="row", fixed_columns=1, **options)
        self.shown = Table((), ())
        self._signs: Signs = {}
        self._short: dict[str, str] = {}
        self._shape: tuple[Any, ...] = ()

    def on_resize(self) -> None:
        """Shorten long texts to a quarter of the width."""
        self.show(self.shown, self._signs)

    def show(self, table: Table, signs: Signs | None = None) -> None:
        """Show a table.

        Args:
            table: of text.
            signs: text in the header or the first column -> the sign before it.
        """
        self.shown, self._signs = table, signs or {}
        self._shorten_names()
        lines = [
            [self._cell(column, text) for column, text in enumerate(row)]
            for row in table.rows
        ]
        shape = (self.size.width, tuple(table.header), len(lines))
        if shape == self._shape:
            self._update(lines)
            return
        cursor, self._shape = self.cursor_row, shape
        self.clear(columns=True)
        for column, name in enumerate(table.header):
            self.add_column(self._cell(column, name, is_head=True))
        for line in lines:
            self.add_row(*line)
        self.move_cursor(row=cursor)

    def _update(self, lines: list[list[Text]]) -> None:
        for row, line in enumerate(lines):
            for column, text in enumerate(line):
                place = Coordinate(row, column)
                if self.get_cell_at(place) != text:
                    self.update_cell_at(place, text, update_width=True)

    @property
    def _longest(self) -> int:
        return max(SHORTEST, self.size.width // 4)

    def _fitted(self, text: str) -> str:
        shown = visible(text)
        too_long = cell_len(shown) > self._longest
        return shortened(shown, self._longest) if too_long else shown

    def _shorten_names(self) -> None:
        """Shorten the names of rows and columns so that what differs is visible."""
        self._short = {}
        for names in (self.shown.header, [row[0] for row in self.shown.rows if row]):
            long = [each for each in names if cell_len(visible(each)) > self._longest]
            short = shortened_apart(list(map(visible, long)), self._longest)
            self._short |= dict(zip(long, short, strict=True))

    def _cell(self, column: int, text: str, *, is_head: bool = False) -> Text:
        shown = self._short.get(text) if not column or is_head else None
        shown = self._fitted(text) if shown is None else shown
        is_number = self.shown.header[column] in self.shown.numbers
        cell = Text(shown, justify="right" if is_number else "left")
        has_sign = text in self._signs and (is_head or not column)
        return Text.assemble(self._signs[text], " ", cell) if has_sign else cell
