"""The list of runs, which keeps cursor and scroll while its rows change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from rich.cells import cell_len, set_cell_size
from rich.style import Style
from rich.text import Text
from textual import events
from textual.app import App
from textual.binding import BindingType
from textual.color import Color
from textual.coordinate import Coordinate
from textual.widgets import DataTable

from kmtard.runs.listing import BY_TITLE, COLUMNS, TEXTS, Column
from kmtard.runs.summary import Summary
from kmtard.runs.visible import shortened, visible
from launcher.bindings import bindings

NARROW = 60  # cells, below which only the columns of COMPACT are shown
COMPACT = ("state", "name", "W-Robust")
WIDTHS = {
    **{"state": 11, "name": 14, "method": 12, "W-Robust": 8, "clean": 6, "robust": 6},
    **{"epoch": 9, "time": 7, "of": 9, "seed": 5, "radius": 7},
    **{"data": 13, "started": 12, "attack": 12},
}
"""Title of a column -> its width in cells; the name gets what the others leave."""

MARK = "◆"
SYMBOLS = {
    "running": ("▶", "text-primary"),
    "finished": ("✓", "text-success"),
    "stopped": ("■", "text-warning"),
    "failed": ("✗", "text-error"),
    "crashed": ("✗", "text-error"),
    "remote": ("⇄", "text-accent"),
    "damaged": ("!", "text-warning"),
}
"""State -> its sign and the name of its color in the theme."""

Cell = tuple[str, str]
"""Text and the name of its color; empty for the table's own."""


def symbol(state: str) -> Cell:
    """Return the sign of a state and its color."""
    return SYMBOLS.get(state, ("?", ""))


def theme_style(app: App[Any], colour: str) -> Style:
    """Return a color of the theme as a style."""
    return Style(color=Color.parse(app.theme_variables[colour]).rich_color)


def name_cells(width: int, longest: int) -> int:
    """Return the width of the name when as many columns as possible fit beside it.

    Args:
        width: of the list, in cells.
        longest: width of the longest name.
    """
    _, least, *others = (WIDTHS[column.title] for column in COLUMNS)
    left = width - WIDTHS["state"] - 1
    for other in others:
        if left - other - 1 <= least:
            break
        left -= other + 1
    return max(8, min(left - 1, longest))


class RunTable(DataTable[Text]):
    """Runs by their folders, with which cursor, marks and scroll stay.

    Attributes:
        marked: folders of the runs that the user has marked.
    """

    DEFAULT_CSS = """
    RunTable > .datatable--fixed { background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("runs", "open"),
        *bindings("every", "top", "bottom"),
    ]

    def __init__(self, **options: Any) -> None:
        super().__init__(cursor_type="row", cell_padding=0, **options)
        self.marked: set[Path] = set()
        self._listed: list[Summary] = []
        self._lines: list[list[Cell]] = []
        self._shown: list[Column] = []
        self._made: dict[Path, tuple[Any, list[Cell]]] = {}
        self._headings: list[str] = []
        self._order = ("", False)

    def on_mount(self) -> None:
        """Follow changes of the theme."""
        self.app.theme_changed_signal.subscribe(self, lambda theme: self._repaint())

    def on_resize(self, event: events.Resize) -> None:
        """Fit the columns to the width."""
        del event
        self.show(self._listed, self._order)

    @property
    def listed(self) -> Sequence[Summary]:
        """The runs in their order."""
        return self._listed

    @property
    def selected(self) -> Summary | None:
        """The run under the cursor."""
        cursor = self.cursor_row
        return self._listed[cursor] if cursor < len(self._listed) else None

    def title_of(self, column: int) -> str:
        """Return the name of a column by its position."""
        return self._shown[column].title

    def show(self, rows: Sequence[Summary], order: tuple[str, bool]) -> None:
        """Show these runs in this order.

        Args:
            rows: sorted.
            order: title of the column that they are sorted by, and whether the largest
                value comes first.
        """
        selected, cursor, scroll = self.selected, self.cursor_row, self.scroll_y
        self._listed, self._order = list(rows), order
        name_width = self._lay_out()
        self._made = {row.run.path: self._line(row, name_width) for row in rows}
        lines = [made[-1] for made in self._made.values()]
        is_seen = scroll <= cursor < scroll + self.size.height - self.header_height
        with self.prevent(DataTable.RowHighlighted):
            self._fill(lines)
            place = self._place(selected, cursor)
            # New rows above the run move it, and the view follows.
            if scroll and scroll + place - cursor != self.scroll_y:
                self.scroll_to(y=scroll + place - cursor, animate=False)
            if is_seen:
                self.move_cursor(row=place)
            elif place != self.cursor_row:
                # `move_cursor` would scroll to it.
                self.set_reactive(RunTable.cursor_coordinate, Coordinate(place, 0))
                self.refresh()

    def _place(self, selected: Summary | None, cursor: int) -> int:
        paths = [row.run.path for row in self._listed]
        if selected and selected.run.path in paths:
            return paths.index(selected.run.path)
        return max(0, min(cursor, len(paths) - 1))

    def _lay_out(self) -> int:
        """Add the columns if they have changed; return the width of the name."""
        if self.app.size.width < NARROW:
            columns = [BY_TITLE[title] for title in COMPACT]
            taken = sum(WIDTHS[title] + 1 for title in COMPACT if title != "name")
            name_width = max(8, self.size.width - taken - 1)
        else:
            longest = max(
                (cell_len(visible(row.name)) for row in self._listed), default=0
            )
            columns, name_width = list(COLUMNS), name_cells(self.size.width, longest)
        headings = [self._heading(column, name_width) for column in columns]
        if headings != self._headings:
            self._shown, self._headings = columns, headings
            self._lines = []
            self.clear(columns=True)
            for heading in headings:
                self.add_column(Text(heading), width=cell_len(heading))
            self.fixed_columns = 2 if len(columns) > len(COMPACT) else 0
        return name_width

    def _heading(self, column: Column, name_width: int) -> str:
        title, falls = self._order
        arrow = ("▼" if falls else "▲") if column.title == title else " "
        if column.title not in TEXTS:
            return f"{column.title:>{WIDTHS[column.title]}}{arrow}"
        width = name_width if column.title == "name" else WIDTHS[column.title]
        return set_cell_size(f"{column.title}{arrow}", width + 1)

    def _line(self, row: Summary, name_width: int) -> tuple[Any, list[Cell]]:
        """Return what the cells of a run depend on, and the cells."""
        basis = (row, row.run.path in self.marked, name_width, len(self._shown))
        made = self._made.get(row.run.path)
        if made and made[0] == basis:
            return made
        return basis, [self._cell(column, row, name_width) for column in self._shown]

    def _cell(self, column: Column, row: Summary, name_width: int) -> Cell:
        text = visible(column.text(row))
        if column.title == "state":
            sign, colour = symbol(row.state)
            mark = MARK if row.run.path in self.marked else " "
            return set_cell_size(
                f"{mark}{sign} {text}", WIDTHS[column.title] + 1
            ), colour
        if column.title == "name":
            return shortened(text, name_width) + " ", ""
        if column.title in TEXTS:
            return shortened(text, WIDTHS[column.title]) + " ", ""
        return f"{text:>{WIDTHS[column.title]}} ", ""

    def _fill(self, cells: list[list[Cell]]) -> None:
        if len(cells) < len(self._lines):
            self.clear()
            self._lines = []
        for row, (old, new) in enumerate(zip(self._lines, cells, strict=False)):
            if old is new:
                continue
            for column, cell in enumerate(new):
                if cell != old[column]:
                    self.update_cell_at(Coordinate(row, column), self._painted(cell))
        for line in cells[len(self._lines) :]:
            self.add_row(*map(self._painted, line))
        self._lines = cells

    def _repaint(self) -> None:
        self._headings = []
        self.show(self._listed, self._order)

    def _painted(self, cell: Cell) -> Text:
        text, colour = cell
        return Text(text, theme_style(self.app, colour) if colour else "")
