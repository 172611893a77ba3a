"""Curves over epochs, drawn with characters."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from rich.color import Color as RichColor
from rich.style import Style
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from kmtard.runs.visible import visible
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
        #legend { height: auto; max-height: 2; padding: 0 1; background: $surface; }
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
        new = tuple(replace(one, x=tuple(one.x), y=tuple(one.y)) for one in series)
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
        dropped = sum(
            len(before.x) - len(after.x)
            for before, after in zip(self._series, series, strict=True)
            if not before.faint
        )
        shown = [one for one in series if one.x]
        self.query_one("#legend", Static).update(
            self._legend(shown, levels, dropped) if shown else Text(self.empty, "dim")
        )
        self.query_one(PlotCanvas).draw(shown, levels, self._marks if shown else ())

    def _legend(
        self, series: Sequence[PlotSeries], levels: Sequence[Level], dropped: int
    ) -> Text:
        entries = [
            (one.style.marker, one.label, f"{one.y[-1]:.{self.digits}f}", one.style)
            for one in series
            if not one.faint
        ]
        entries += [
            (LEVEL, label, f"{y:.{self.digits}f}", style) for label, y, style in levels
        ]
        parts = [
            Text.assemble((f"{sign} {visible(label)}", _ink(style)), f" {value}")
            for sign, label, value, style in entries
        ]
        parts += [Text(f"{MARK} {visible(label)}", "dim") for label, _ in self._marks]
        if dropped:
            parts.append(Text(f"{dropped} not finite", "dim"))
        return _rows(parts, self.query_one("#legend").content_size.width)


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
    points = [(x, y) for x, y in zip(one.x, one.y, strict=True) if _is_finite(y)]
    return replace(one, x=[x for x, _ in points], y=[y for _, y in points])
