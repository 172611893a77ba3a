"""The lines of a log: scrolled, wrapped and searched while they grow."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from typing import ClassVar

from rich.cells import cell_len, chop_cells
from rich.text import Text
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from kmtard.runs.log_file import LogView


class LogText(ScrollView, can_focus=True):
    """Shows a `LogView`.

    Attributes:
        is_following: whether the end stays in view when lines are added.
        is_wrapped: whether long lines continue in the next row.
        wanted: the text to search for; case matters only if it has capitals.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"log-text--hit", "log-text--current"}
    DEFAULT_CSS = """
    LogText {
        height: 1fr;
        padding: 0 0 0 1;
        scrollbar-size: 1 1;
        scrollbar-gutter: stable;
        &>.log-text--hit {
            background: $warning-muted;
            color: $text-warning;
            text-style: underline;
        }
        &>.log-text--current {
            background: $warning-muted;
            color: $text-warning;
            text-style: bold reverse;
        }
    }
    """

    class Changed(Message):
        """Following, the search or the match has changed."""

    class ReachedTop(Message):
        """The first line in memory is in view."""

    def __init__(self) -> None:
        super().__init__()
        self.is_following = True
        self.is_wrapped = True
        self.wanted = ""
        self.hits: list[int] = []
        self.current: int | None = None
        self._view = LogView()
        self._rows: list[tuple[int, int, int]] = []
        self._is_placing = False

    @property
    def position(self) -> int | None:
        """Offset in the file of the first line in view."""
        row = self.scroll_offset.y
        if not 0 <= row < len(self._rows):
            return None
        return self._view.offsets[self._rows[row][0]]

    def show(self, view: LogView) -> None:
        """Show other lines, and keep those in view where they are."""
        position, current = self.position, self.current
        mark = self._view.offsets[current] if current is not None else None
        self._view = view
        self._lay_out()
        self._search(mark)
        self.go_to(position)

    def go_to(self, position: int | None) -> None:
        """Scroll to the line at an offset, or to the end if following."""
        if self.is_following or position is None:
            self._place(self.max_scroll_y)
        else:
            line = bisect_right(self._view.offsets, position) - 1
            self._place(self._row_of(max(0, line)))

    def _place(self, y: float) -> None:
        self._is_placing = True
        self.scroll_to(y=y, animate=False, immediate=True, force=True)
        self._is_placing = False

    def _row_of(self, line: int) -> int:
        return bisect_left(self._rows, (line, 0, 0))

    def _lay_out(self) -> None:
        lines, width = self._view.lines, max(1, self.scrollable_content_region.width)
        if self.is_wrapped:
            self._rows = [
                row for i, line in enumerate(lines) for row in _cut(i, line, width)
            ]
            widest = width
        else:
            self._rows = [(i, 0, len(line)) for i, line in enumerate(lines)]
            widest = max(map(cell_len, lines), default=0)
        self.virtual_size = Size(widest, len(self._rows))
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        """Wrap the lines again."""
        del event
        position = self.position
        self._lay_out()
        self.go_to(position)

    def wrap(self, is_wrapped: bool) -> None:
        """Wrap long lines, or cut them off."""
        position = self.position
        self.is_wrapped = is_wrapped
        self._lay_out()
        self.scroll_to(x=0, animate=False, immediate=True)
        self.go_to(position)

    def follow(self, is_following: bool) -> None:
        """Follow the end, or stop following."""
        self.is_following = is_following
        if is_following:
            self._place(self.max_scroll_y)
        self.post_message(self.Changed())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Stop following when the user scrolls up."""
        super().watch_scroll_y(old_value, new_value)
        if self._is_placing or new_value >= old_value:
            return
        if self.is_following and new_value < self.max_scroll_y:
            self.is_following = False
            self.post_message(self.Changed())
        if new_value <= 0:
            self.post_message(self.ReachedTop())

    def search(self, query: str) -> None:
        """Highlight a text, and go to its last match above the end of the view."""
        self.wanted = query
        self._search(None)
        if self.hits:
            last = self.scroll_offset.y + self.scrollable_content_region.height
            row = min(last, len(self._rows)) - 1
            place = bisect_right(self.hits, self._rows[row][0]) - 1
            self._go_to_hit(max(0, place))
        self.refresh()
        self.post_message(self.Changed())

    def step(self, by: int) -> None:
        """Go to the next match or the one before; the first follows the last."""
        if self.hits:
            here = self.current if self.current is not None else -1
            place = bisect_left(self.hits, here) + by
            self._go_to_hit(place % len(self.hits))
            self.post_message(self.Changed())

    def _search(self, mark: int | None) -> None:
        pattern = self._pattern
        lines = self._view.lines
        self.hits = [
            i for i, line in enumerate(lines) if pattern and pattern.search(line)
        ]
        place = bisect_left(self._view.offsets, mark) if mark is not None else -1
        self.current = place if place in self.hits else None

    @property
    def _pattern(self) -> re.Pattern[str] | None:
        flags = re.IGNORECASE if self.wanted == self.wanted.lower() else re.NOFLAG
        return re.compile(re.escape(self.wanted), flags) if self.wanted else None

    def _go_to_hit(self, place: int) -> None:
        self.is_following = False
        self.current = self.hits[place]
        row, height = self._row_of(self.current), self.scrollable_content_region.height
        if not self.scroll_offset.y <= row < self.scroll_offset.y + height:
            self._place(max(0, row - height // 2))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return one row of the view."""
        scroll_x, scroll_y = self.scroll_offset
        width, row = self.scrollable_content_region.width, scroll_y + y
        if row >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        number, begin, end = self._rows[row]
        text = Text(self._view.lines[number][begin:end], end="")
        if pattern := self._pattern:
            name = "current" if number == self.current else "hit"
            style = self.get_component_rich_style(f"log-text--{name}")
            for found in pattern.finditer(self._view.lines[number]):
                text.stylize(
                    style, max(0, found.start() - begin), max(0, found.end() - begin)
                )
        strip = Strip(text.render(self.app.console)).apply_style(self.rich_style)
        return strip.crop_extend(scroll_x, scroll_x + width, self.rich_style)


def _cut(number: int, line: str, width: int) -> list[tuple[int, int, int]]:
    """Return number, start and end of each row of a line."""
    if cell_len(line) <= width:
        return [(number, 0, len(line))]
    rows, begin = [], 0
    for piece in chop_cells(line, width):
        rows.append((number, begin, begin + len(piece)))
        begin += len(piece)
    return rows
