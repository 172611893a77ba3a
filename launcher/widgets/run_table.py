"""The list of runs, which keeps cursor and scroll while its rows change."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.app import App
from textual.binding import BindingType
from textual.cache import LRUCache
from textual.color import Color
from textual.coordinate import Coordinate
from textual.message import Message
from textual.widgets import DataTable

from kmtard.runs.listing import BY_TITLE, MARK, TEXTS, Column
from kmtard.runs.outline import Line, line_text
from kmtard.runs.summary import Summary
from kmtard.runs.visible import shortened, shortened_apart, visible
from launcher.bindings import bindings

NARROW = 60  # cells, below which the columns of COMPACT come first
COMPACT = ("state", "name", "W-Robust", "clean", "robust", "left")
FIRST = ("method", "W-Robust", "clean", "robust", "epoch")
"""Columns that the name leaves room for, before it grows."""

FIXED = ("state", "name")
"""Columns that are always shown, and stay while the others are scrolled."""

LEAST, COMFORTABLE = 16, 32  # cells of a name: always, and before further columns
WIDTHS = {
    **{"state": 11, "name": 14, "method": 12, "W-Robust": 8, "clean": 6, "robust": 6},
    **{"epoch": 10, "left": 8, "progress": 11, "time": 7, "of": 10, "seed": 5},
    **{"trend": 10, "tags": 12, "radius": 7, "data": 13, "started": 12},
    **{"attack": 12, "where": 16, "note": 30},
}
"""Title of a column -> its width in cells; the name gets what the others leave."""

LEFT = frozenset(TEXTS) - {"epoch"}
"""Columns whose texts begin at the left; `epoch` may follow the mark of a number."""

SCORES = ("W-Robust", "clean", "robust")
"""Columns that grow where lines have a mean and a deviation."""

MOST_CELLS, MOST_ROWS = 3000, 200  # that are kept rendered
MARKED = "◆"
OPEN, CLOSED = "▾", "▸"
SYMBOLS = {
    "new": ("·", ""),
    "waiting": ("○", ""),
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


def name_cells(
    width: int,
    longest: int,
    widths: Mapping[str, int] = WIDTHS,
    titles: Sequence[str] = tuple(BY_TITLE),
) -> int:
    """Return the width of the name, which never shrinks when the list gets wider.

    Args:
        width: of the list, in cells.
        longest: width of the longest name.
        widths: title of a column -> its width in cells.
        titles: of the columns.
    """
    others = [title for title in titles if title not in FIXED]
    first = [title for title in others if title in FIRST]
    rest = sum(widths[title] + 1 for title in others if title not in FIRST)
    left = width - sum(widths[title] + 1 for title in ("state", *first)) - 1
    # Beyond a comfortable width, all other columns come before a longer name.
    wanted = min(left, COMFORTABLE + max(0, left - COMFORTABLE - rest))
    beside_best = width - widths["state"] - widths["W-Robust"] - 3
    least = max(8, min(LEAST, beside_best))
    return max(8, min(longest, max(wanted, least)))


class RunTable(DataTable[Text]):
    """Runs, settings and studies by their keys, with which cursor and scroll stay.

    Attributes:
        marked: folders of the runs that the user has marked.
        widths: title of a column -> its width in cells.
        hidden: titles of columns that are not shown.
    """

    DEFAULT_CSS = """
    RunTable > .datatable--fixed { background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("runs", "open"),
        *bindings("every", "top", "bottom"),
    ]

    @dataclass
    class Turned(Message):
        """The user clicked on the sign of a line that opens and closes."""

        key: str

    def __init__(self, **options: Any) -> None:
        self._rendered = LRUCache[tuple[Any, ...], list[list[Segment]]](MOST_CELLS)
        super().__init__(cursor_type="row", cell_padding=0, **options)
        # Textual keeps up to 10000 cells and 1000 rows of states that are gone.
        self._cell_render_cache = LRUCache(MOST_ROWS)
        self._row_render_cache = LRUCache(MOST_ROWS)
        self._line_cache = LRUCache(MOST_ROWS)
        self.marked: set[Path] = set()
        self.widths: Mapping[str, int] = WIDTHS
        self.hidden: Collection[str] = ()
        self._names: dict[str, str] = {}
        self._named: tuple[int, list[tuple[str, str]]] = (0, [])
        self._listed: list[Line] = []
        self._lines: list[list[Cell]] = []
        self._shown: list[Column] = []
        self._made: dict[str, tuple[Any, list[Cell]]] = {}
        self._means: dict[str, tuple[Line, list[int]]] = {}
        self._headings: list[str] = []
        self._order = ("", False)

    def on_mount(self) -> None:
        """Follow changes of the theme."""
        self.app.theme_changed_signal.subscribe(self, lambda theme: self._repaint())

    def on_resize(self, event: events.Resize) -> None:
        """Fit the columns to the width."""
        del event
        self.show(self._listed, self._order)

    def on_click(self, event: events.Click) -> None:
        """Open or close a line by one click on its sign; Textual needs two."""
        row = event.style.meta.get("row", -1)
        if not 0 <= row < len(self._listed) or self._listed[row].is_open is None:
            return
        start = WIDTHS["state"] + 1 + cell_len(_indent(self._listed[row]))
        if start <= event.x < start + cell_len(OPEN) + 1:
            event.prevent_default()
            event.stop()
            self.move_cursor(row=row)
            self.post_message(self.Turned(self._listed[row].key))

    @property
    def listed(self) -> Sequence[Summary]:
        """The runs in their order, each once, those of closed lines too."""
        found = {row.run.path: row for line in self._listed for row in line.runs}
        return list(found.values())

    @property
    def lines(self) -> Sequence[Line]:
        """The lines in their order."""
        return self._listed

    @property
    def line(self) -> Line | None:
        """The line under the cursor."""
        cursor = self.cursor_row
        return self._listed[cursor] if 0 <= cursor < len(self._listed) else None

    @property
    def selected(self) -> Summary | None:
        """The run under the cursor, if the line has one alone."""
        return self.line.row if self.line else None

    @property
    def titles(self) -> list[str]:
        """The names of the columns in their order."""
        return self._titles()

    def title_of(self, column: int) -> str:
        """Return the name of a column by its position."""
        return self._shown[column].title

    def show(self, lines: Sequence[Line], order: tuple[str, bool]) -> None:
        """Show these lines.

        Args:
            lines: sorted.
            order: title of the column that they are sorted by, and whether the largest
                value comes first.
        """
        selected, cursor, scroll = self.line, self.cursor_row, self.scroll_y
        self._listed, self._order = list(lines), order
        self._lay_out()
        self._made = {line.key: self._line(line) for line in lines}
        cells = [made[-1] for made in self._made.values()]
        is_seen = scroll <= cursor < scroll + self.size.height - self.header_height
        with self.prevent(DataTable.RowHighlighted):
            self._fill(cells)
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

    def _place(self, selected: Line | None, cursor: int) -> int:
        keys = [line.key for line in self._listed]
        if selected and selected.key in keys:
            return keys.index(selected.key)
        return max(0, min(cursor, len(keys) - 1))

    def _lay_out(self) -> None:
        """Add the columns if they have changed."""
        self.widths = self._fitting()
        titles = self._titles()
        columns = [BY_TITLE[title] for title in titles]
        longest = max((cell_len(_name(line)) for line in self._listed), default=0)
        name_width = name_cells(self.size.width, longest, self.widths, titles)
        headings = [self._heading(column, name_width) for column in columns]
        if headings != self._headings:
            self._shown, self._headings = columns, headings
            self._lines = []
            self.clear(columns=True)
            for heading in headings:
                self.add_column(Text(heading), width=cell_len(heading))
            self.fixed_columns = len(FIXED)
        known = (name_width, [(_name(line), line.key) for line in self._listed])
        if known != self._named:
            self._named = known
            self._names = _fitted_names(self._listed, name_width)

    def _titles(self) -> list[str]:
        titles = [each for each in BY_TITLE if each not in self.hidden or each in FIXED]
        if self.app.size.width >= NARROW:
            return titles
        first = [title for title in COMPACT if title in titles]
        return first + [title for title in titles if title not in first]

    def _fitting(self) -> dict[str, int]:
        """Return the widths, with room for the means of settings with several seeds."""
        widths, known = dict(WIDTHS), self._means
        self._means = {}
        for line in self._listed:
            if line.seeds:
                made = known.get(line.key)
                if made is None or made[0] != line:
                    texts = [line_text(BY_TITLE[title], line) for title in SCORES]
                    made = line, list(map(len, texts))
                self._means[line.key] = made
                for title, width in zip(SCORES, made[1], strict=True):
                    widths[title] = max(widths[title], width)
        return widths

    def _heading(self, column: Column, name_width: int) -> str:
        title, falls = self._order
        arrow = ("▼" if falls else "▲") if column.title == title else " "
        if column.title not in LEFT:
            return f"{column.title:>{self.widths[column.title]}}{arrow}"
        width = name_width if column.title == "name" else self.widths[column.title]
        return set_cell_size(f"{column.title}{arrow}", width + 1)

    def _render_cell(
        self,
        row_index: int,
        column_index: int,
        base_style: Style,
        width: int,
        cursor: bool = False,
        hover: bool = False,
    ) -> list[list[Segment]]:
        """Render a cell once for each text in it.

        Textual renders all cells of all columns again after a change of one of them,
        such as the clock of a running run.
        """
        shown = self._lines[row_index] if 0 <= row_index < len(self._lines) else ()
        if not 0 <= column_index < len(shown):
            return super()._render_cell(
                row_index, column_index, base_style, width, cursor, hover
            )
        key = (
            *(row_index, column_index, shown[column_index]),
            *(base_style, width, cursor, hover),
            *(self._show_hover_cursor, self._pseudo_class_state),
        )
        if (known := self._rendered.get(key)) is None:
            known = super()._render_cell(
                row_index, column_index, base_style, width, cursor, hover
            )
            self._rendered[key] = known
        return known

    def _clear_caches(self) -> None:
        super()._clear_caches()
        self._rendered.clear()

    def notify_style_update(self) -> None:
        """Render all cells again in other colors."""
        self._rendered.clear()
        super().notify_style_update()

    def _line(self, line: Line) -> tuple[Any, list[Cell]]:
        """Return what the cells of a line depend on, and the cells."""
        basis = (line, self._is_marked(line), self._names[line.key], self._headings)
        made = self._made.get(line.key)
        if made and made[0] == basis:
            return made
        return basis, [self._cell(column, line) for column in self._shown]

    def _is_marked(self, line: Line) -> bool:
        paths = {row.run.path for row in line.runs}
        return bool(paths) and paths <= self.marked

    def _cell(self, column: Column, line: Line) -> Cell:
        text = visible(line_text(column, line))
        if column.title == "state":
            sign, colour = symbol(line.state)
            mark = MARKED if self._is_marked(line) else " "
            return set_cell_size(
                f"{mark}{sign} {text}", WIDTHS[column.title] + 1
            ), colour
        if column.title == "name":
            return self._names[line.key] + " ", ""
        if column.title in LEFT:
            return shortened(text, WIDTHS[column.title]) + " ", ""
        # The mark stands where other numbers have a space.
        shown = text if text.endswith(MARK) else f"{text} "
        return f"{shown:>{self.widths[column.title] + 1}}", ""

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


def _indent(line: Line) -> str:
    return "  " * line.depth


def _sign(line: Line) -> str:
    """Return the indent of a line, and whether it is open."""
    if line.is_open is None:
        return _indent(line)
    return f"{_indent(line)}{OPEN if line.is_open else CLOSED} "


def _name(line: Line) -> str:
    return _sign(line) + visible(line.name)


def _fitted_names(lines: Sequence[Line], width: int) -> dict[str, str]:
    """Return the name of each line in this width, with what differs visible."""
    signs = {line.key: _sign(line) for line in lines}
    by_room: dict[int, list[Line]] = {}
    for line in lines:
        by_room.setdefault(width - cell_len(signs[line.key]), []).append(line)
    names: dict[str, str] = {}
    for room, some in by_room.items():
        short = shortened_apart([visible(line.name) for line in some], room)
        for line, text in zip(some, short, strict=True):
            names[line.key] = signs[line.key] + text
    return names
