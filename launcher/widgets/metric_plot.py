"""Curves over epochs, drawn with characters."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len
from rich.color import Color as RichColor
from rich.style import Style
from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static

from kmtard.runs.formats import ABSENT
from kmtard.runs.visible import shortened_apart, visible
from launcher.closing import while_open
from launcher.palette import SeriesStyle
from launcher.widgets.axes import EPOCHS, XAxis
from launcher.widgets.plot_canvas import (
    LEVEL,
    MARK,
    Level,
    Mark,
    Picture,
    PlotCanvas,
    PlotSeries,
    value_place,
)
from launcher.widgets.plot_view import PlotView

__all__ = ["Level", "Mark", "MetricPlot", "PlotSeries"]

PAUSE = 0.5  # seconds between two drawings, at least
SMALLEST = (24, 6)  # cells; no curve is visible in less
LARGEST = 1e300  # the differences of larger values overflow
PLAIN = 1e15  # larger numbers are written with an exponent
ZOOM, PAN = 0.5, 0.25  # factor of the window's width, and share of it, per key
GAP = "   "
NOT_POSITIVE = "No values above 0, as a logarithmic axis needs."
LEGEND_SHARE = 4  # the legend has at most this part of the rows, and at least two
FORMS = (
    *((None, True, True), (24, True, True), (16, True, True), (16, True, False)),
    *((16, False, False), (10, False, False)),
)
"""Cells of a label, whether it has a value, and whether there are notes.

The best form of a legend comes first.
"""

READINGS = ((None, 9), (16, 9), (0, 9), (0, 2), (0, 1))
"""Cells of a label, and most decimals of a value, of the line for the crosshair."""


class MetricPlot(Vertical):
    """Curves with a legend, drawn at most twice per second and only after changes.

    The mouse moves a crosshair, whose values replace those of the legend, in one line.
    Its wheel enlarges the curves, and they are dragged.

    Args:
        title: of the frame.
        digits: decimals of the numbers in the legend.
        empty: the text when there are no curves.

    Attributes:
        drawings: number of times it was drawn.
        view: the part of the curves that is shown, and the crosshair.
        is_log: whether the y axis is logarithmic.
    """

    ALLOW_MAXIMIZE = True
    DEFAULT_CSS = """
    MetricPlot {
        background: $surface;
        #legend { height: auto; padding: 0 1; background: $surface; }
    }
    """

    @dataclass
    class ViewChanged(Message):
        """The user has changed the view of a plot, by the mouse or a key."""

        plot: MetricPlot
        view: PlotView

    def __init__(
        self, title: str = "", *, digits: int = 2, empty: str = "No values yet."
    ) -> None:
        super().__init__()
        self.border_title = title
        self.digits = digits
        self.empty = empty
        self.drawings = 0
        self.view = PlotView()
        self.is_log = False
        self._x_axis = EPOCHS
        self._content = Picture()
        self._places: list[float] = []
        self._plain_legend = Text()
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
        *,
        x_axis: XAxis = EPOCHS,
        is_log: bool = False,
    ) -> None:
        """Show other curves. On another x axis, all of them are shown.

        Args:
            series: the curves, which are copied.
            levels: label, height and style of horizontal lines.
            marks: label and place of vertical lines.
            x_axis: what x is.
            is_log: whether the y axis is logarithmic. Values that are not above 0 are
                then gaps.
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
        known = self._series, self._levels, self._marks, self._x_axis, self.is_log
        if (new, tuple(levels), tuple(marks), x_axis, is_log) != known:
            is_other_axis = (x_axis, is_log) != (self._x_axis, self.is_log)
            if x_axis != self._x_axis:
                self.look(PlotView())
            self._series, self._levels, self._marks = new, tuple(levels), tuple(marks)
            self._x_axis, self.is_log = x_axis, is_log
            if is_other_axis and self.is_mounted:
                # At once: the next key or move of the mouse needs the new places.
                self._draw()
            else:
                self._request()

    def look(self, view: PlotView) -> None:
        """Show another part of the curves, or another place of the crosshair."""
        if view != self.view:
            self.view = view
            if self.is_mounted:
                self.query_one(PlotCanvas).look(view)
                self._show_legend()

    def _change(self, view: PlotView) -> None:
        if view != self.view:
            self.look(view)
            self.post_message(self.ViewChanged(self, view))

    @on(PlotCanvas.Pointed)
    def _point(self, event: PlotCanvas.Pointed) -> None:
        event.stop()
        if event.x is None:
            self._change(replace(self.view, cross=None))
        else:
            self._change(self.view.pointed(self._places, event.x))

    @on(PlotCanvas.Zoomed)
    def _zoom_at(self, event: PlotCanvas.Zoomed) -> None:
        event.stop()
        self._change(self.view.zoomed(self._content.extent, event.factor, event.x))

    @on(PlotCanvas.Panned)
    def _pan_by(self, event: PlotCanvas.Panned) -> None:
        event.stop()
        self._change(self.view.panned(self._content.extent, event.share))

    def cross(self, by: int) -> None:
        """Move the crosshair some values further; it begins at the last one shown."""
        extent = self._content.extent
        self._change(self.view.stepped(self._places, by, extent))

    def zoom(self, by: int) -> None:
        """Enlarge the curves around the crosshair, or the middle; show more if < 0."""
        extent = self._content.extent
        first, last = self.view.shown(extent)
        around = self.view.cross
        around = (first + last) / 2 if around is None else around
        self._change(self.view.zoomed(extent, ZOOM**by, around))

    def pan(self, by: int) -> None:
        """Show what is further right; left if < 0."""
        self._change(self.view.panned(self._content.extent, PAN * by))

    def show_whole(self) -> None:
        """Show all of the curves, and no crosshair."""
        self._change(PlotView())

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
        dropped = _missing(series)
        levels = [level for level in self._levels if _is_finite(level[1])]
        if self.is_log:
            series = [_kept(one, _is_positive) for one in series]
            levels = [level for level in levels if level[1] > 0]
        below = _missing(series) - dropped
        shown = [one for one in series if any(y is not None for y in one.y)]
        empty = NOT_POSITIVE if below else self.empty
        self._plain_legend = (
            self._legend(shown, levels, dropped, below) if shown else Text(empty, "dim")
        )
        self._content = Picture(
            shown, levels, self._marks if shown else (), self._x_axis, self.is_log
        )
        # The mouse asks for them at each of its moves.
        self._places = sorted({x for one in shown for x in one.x})
        self._show_legend()
        self.query_one(PlotCanvas).draw(self._content)
        self.query_one(PlotCanvas).look(self.view)

    def _show_legend(self) -> None:
        text = self._plain_legend
        if self.view.cross is not None and self._content.series:
            text = self._reading(self.view.cross)
            # The curves below stay where they are.
            text.append("\n" * self._plain_legend.plain.count("\n"))
        self.query_one("#legend", Static).update(text)

    def _reading(self, x: float) -> Text:
        """Return the values at the crosshair in one line."""
        entries = []
        for one in self._content.series:
            if not one.faint:
                place = value_place(one, x, is_whole=self._x_axis.is_whole)
                entries.append((one, None if place is None else one.y[place]))
        width = self.query_one("#legend").content_size.width
        head, text = self._x_axis.text(x), Text()
        for longest, most in READINGS:
            digits = min(most, self.digits)
            cells = [
                (one.style.marker, one.label, _number(y, digits), one.style)
                for one, y in entries
            ]
            gap = GAP if longest is None else GAP[:2]
            parts = _parts(cells, longest, True)
            text = Text(gap).join([Text(head, "bold"), *parts])
            if text.cell_len <= width:
                return text
        text.truncate(max(1, width), overflow="ellipsis")
        return text

    def _legend(
        self,
        series: Sequence[PlotSeries],
        levels: Sequence[Level],
        dropped: int,
        below: int,
    ) -> Text:
        notes = [Text(f"{MARK} {visible(label)}", "dim") for label, _ in self._marks]
        if dropped:
            notes.append(Text(f"{dropped} not finite", "dim"))
        if below:
            notes.append(Text(f"{below} not above 0", "dim"))
        if self.is_log:
            notes.append(Text("log axis", "dim"))
        entries = [
            (one.style.marker, one.label, _last(one, self.digits), one.style)
            for one in series
            if not one.faint
        ]
        entries += [
            (LEVEL, label, _number(y, self.digits), style) for label, y, style in levels
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
    if longest:
        short = [label for label in labels if cell_len(label) > longest]
        cut = dict(zip(short, shortened_apart(short, longest), strict=True))
        labels = [cut.get(label, label) for label in labels]
    if longest == 0:
        labels = [""] * len(labels)
    return [
        Text.assemble(
            (f"{sign} {label}".rstrip(), _ink(style)),
            f" {value}" if has_values else "",
        )
        for label, (sign, _, value, style) in zip(labels, entries, strict=True)
    ]


def _last(one: PlotSeries, digits: int) -> str:
    """Return the last value that is drawn, with its place if the newest is missing."""
    place = next(i for i in reversed(range(len(one.y))) if one.y[i] is not None)
    text = _number(one.y[place], digits)
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


def _number(y: float | None, digits: int) -> str:
    """Return a value as text; `-` if it is None.

    A value so small that all decimals would be 0, or very large, has an exponent.
    """
    if y is None:
        return ABSENT
    if y and not 0.5 * 10.0**-digits <= abs(y) < PLAIN:
        return f"{y:.1e}"
    return f"{y:.{digits}f}"


def _is_finite(y: float | None) -> bool:
    return y is not None and abs(y) < LARGEST


def _is_positive(y: float | None) -> bool:
    return y is not None and y > 0


def _missing(series: Sequence[PlotSeries]) -> int:
    return sum(y is None for one in series if not one.faint for y in one.y)


def _finite(one: PlotSeries) -> PlotSeries:
    return _kept(one, _is_finite)


def _kept(one: PlotSeries, condition: Callable[[float | None], bool]) -> PlotSeries:
    """Return a curve with gaps for values that do not fulfill a condition."""

    def kept(values: Sequence[float | None]) -> list[float | None]:
        return [y if condition(y) else None for y in values]

    return replace(one, y=kept(one.y), low=kept(one.low), high=kept(one.high))
