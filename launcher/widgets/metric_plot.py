"""Curves over epochs, drawn with characters."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from rich.cells import cell_len
from rich.color import Color as RichColor
from rich.style import Style
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from kmtard.runs.visible import shortened_apart, visible
from launcher.closing import while_open
from launcher.palette import SeriesStyle
from launcher.widgets.plot_canvas import (
    LEVEL,
    MARK,
    Level,
    Mark,
    PlotCanvas,
    PlotSeries,
)

__all__ = ["Level", "Mark", "MetricPlot", "PlotSeries"]

PAUSE = 0.5  # seconds between two drawings, at least
SMALLEST = (24, 6)  # cells; no curve is visible in less
LARGEST = 1e300  # the differences of larger values overflow
GAP = "   "
LEGEND_SHARE = 4  # the legend has at most this part of the rows, and at least two
FORMS = (
    *((None, True, True), (24, True, True), (16, True, True), (16, True, False)),
    *((16, False, False), (10, False, False)),
)
"""Cells of a label, whether it has a value, and whether there are notes.

The best form of a legend comes first.
"""


class MetricPlot(Vertical):
    """Curves with a legend, drawn at most twice per second and only after changes.

    Args:
        title: of the frame.
        digits: decimals of the numbers in the legend.
        empty: the text when there are no curves.

    Attributes:
        drawings: number of times it was drawn.
    """

    ALLOW_MAXIMIZE = True
    DEFAULT_CSS = """
    MetricPlot {
        background: $surface;
        #legend { height: auto; padding: 0 1; background: $surface; }
    }
    """

    def __init__(
        self, title: str = "", *, digits: int = 2, empty: str = "No values yet."
    ) -> None:
        super().__init__()
        self.border_title = title
        self.digits = digits
        self.empty = empty
        self.drawings = 0
        self._series: tuple[PlotSeries, ...] = ()
        self._levels: tuple[Level, ...] = ()
        self._marks: tuple[Mark, ...] = ()
        self._drawn_at = -math.inf
        self._is_waiting = False

    def compose(self) -> ComposeResult:
        """Show the legend above the curves."""
        yield Static(id="legend")
        yield PlotCanvas()

    def on_mount(self) -> None:
        """Redraw when the theme changes."""
        self.app.theme_changed_signal.subscribe(self, lambda theme: self._request())
        self._request()

    def on_resize(self, event: events.Resize) -> None:
        """Redraw for another size, or hide the curves if they do not fit."""
        width, height = event.size
        fits = width >= SMALLEST[0] and height >= SMALLEST[1]
        self.query_one(PlotCanvas).display = fits
        self._request()

    def set_series(
        self,
        series: Sequence[PlotSeries],
        levels: Sequence[Level] = (),
        marks: Sequence[Mark] = (),
    ) -> None:
        """Show other curves.

        Args:
            series: the curves, which are copied.
            levels: label, height and style of horizontal lines.
            marks: label and place of vertical lines.
        """
        new = tuple(
            replace(
                one,
                x=tuple(one.x),
                y=tuple(one.y),
                low=tuple(one.low),
                high=tuple(one.high),
            )
            for one in series
        )
        known = self._series, self._levels, self._marks
        if (new, tuple(levels), tuple(marks)) != known:
            self._series, self._levels, self._marks = new, tuple(levels), tuple(marks)
            self._request()

    def _request(self) -> None:
        if self._is_waiting or not self.is_mounted:
            return
        wait = self._drawn_at + PAUSE - time.monotonic()
        if wait > 0:
            self._is_waiting = True
            self.set_timer(wait, self._draw)
        else:
            self._draw()

    @while_open
    def _draw(self) -> None:
        self._is_waiting = False
        self._drawn_at = time.monotonic()
        self.drawings += 1
        series = [_finite(one) for one in self._series]
        levels = [level for level in self._levels if _is_finite(level[1])]
        dropped = sum(y is None for one in series if not one.faint for y in one.y)
        shown = [one for one in series if any(y is not None for y in one.y)]
        self.query_one("#legend", Static).update(
            self._legend(shown, levels, dropped) if shown else Text(self.empty, "dim")
        )
        self.query_one(PlotCanvas).draw(shown, levels, self._marks if shown else ())

    def _legend(
        self, series: Sequence[PlotSeries], levels: Sequence[Level], dropped: int
    ) -> Text:
        notes = [Text(f"{MARK} {visible(label)}", "dim") for label, _ in self._marks]
        if dropped:
            notes.append(Text(f"{dropped} not finite", "dim"))
        entries = [
            (one.style.marker, one.label, _last(one, self.digits), one.style)
            for one in series
            if not one.faint
        ]
        entries += [
            (LEVEL, label, f"{y:.{self.digits}f}", style) for label, y, style in levels
        ]
        width = self.query_one("#legend").content_size.width
        most = max(2, self.size.height // LEGEND_SHARE)
        text = Text()
        # A curve without an entry could not be recognized. Its value is less important.
        for longest, has_values, has_notes in FORMS:
            parts = _parts(entries, longest, has_values)
            text = _rows([*parts, *(notes if has_notes else ())], width)
            if text.plain.count("\n") < most:
                break
        return text


def _parts(
    entries: Sequence[tuple[str, str, str, SeriesStyle]],
    longest: int | None,
    has_values: bool,
) -> list[Text]:
    labels = [visible(label) for _, label, _, _ in entries]
    if longest is not None:
        short = [label for label in labels if cell_len(label) > longest]
        cut = dict(zip(short, shortened_apart(short, longest), strict=True))
        labels = [cut.get(label, label) for label in labels]
    return [
        Text.assemble(
            (f"{sign} {label}", _ink(style)), f" {value}" if has_values else ""
        )
        for label, (sign, _, value, style) in zip(labels, entries, strict=True)
    ]


def _last(one: PlotSeries, digits: int) -> str:
    """Return the last value that is drawn, with its place if the newest is missing."""
    place = next(i for i in reversed(range(len(one.y))) if one.y[i] is not None)
    text = f"{one.y[place]:.{digits}f}"
    return text if place == len(one.y) - 1 else f"{text} at {one.x[place]:g}"


def _rows(parts: Sequence[Text], width: int) -> Text:
    """Join the parts, and start a new row before a part that does not fit."""
    text, column = Text(), 0
    for part in parts:
        if column and column + len(GAP) + part.cell_len > width:
            text, column = text.append("\n"), 0
        gap = GAP if column else ""
        text.append(gap).append_text(part)
        column += len(gap) + part.cell_len
    return text


def _ink(style: SeriesStyle) -> Style:
    return Style(color=RichColor.from_rgb(*style.colour))


def _is_finite(y: float | None) -> bool:
    return y is not None and abs(y) < LARGEST


def _finite(one: PlotSeries) -> PlotSeries:
    return replace(one, y=[y if _is_finite(y) else None for y in one.y])
