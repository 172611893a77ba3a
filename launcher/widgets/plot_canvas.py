"""Curves drawn with characters.

The curves are drawn here and not by plotext, which rounds the places of signs and of
lines differently, so that markers stand beside their lines, and which connects what is
left and right of a missing value.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text
from textual import events
from textual.app import RenderResult
from textual.color import Color
from textual.message import Message
from textual.widget import Widget

from launcher.palette import SeriesStyle
from launcher.widgets.axes import EPOCHS, Scale, XAxis, even_scale, log_scale
from launcher.widgets.plot_view import PlotView, Window
from launcher.widgets.raster import ACROSS, DOWN, Colour, Raster

LEVEL, MARK = "┄", "│"
CROSS = "┃"
MARKER_GAP = 12  # columns between two markers of a curve
TICK_GAP = 12  # columns between two ticks
TICKS = 10  # most of them at the y axis
FEW = 6  # rows; with fewer, each can have a tick, else every second one
ROOM = 0.02  # part of the values' range that stays free above and below
FAINT = 0.65  # share of the background in a faint color
BAND = 0.8  # share of the background in a band
GREY = (128, 128, 128)
WHEEL = 0.8  # factor of the window's width for one notch of the mouse wheel

Level = tuple[str, float, SeriesStyle]
Mark = tuple[str, float]
Point = tuple[int, int]


@dataclass(frozen=True)
class PlotSeries:
    """One curve.

    Attributes:
        label: its text in the legend.
        x: increasing, in the unit of the x axis.
        y: values; those that are None or not finite leave a gap.
        style: color and marker.
        faint: whether it is drawn below the others, without markers and legend.
        every: whether each value has a marker, also where they are close.
        low: lower end of a band around the curve, one per value; empty for no band.
        high: upper end of the band.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    style: SeriesStyle
    faint: bool = False
    every: bool = False
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()


@dataclass(frozen=True)
class Picture:
    """What is drawn.

    Attributes:
        series: curves with finite values or None, and with a value each. The values are
            above 0 where `is_log`.
        levels: label, height and style of horizontal lines.
        marks: label and place of vertical lines.
        x_axis: what x is.
        is_log: whether the y axis is logarithmic.
    """

    series: Sequence[PlotSeries] = ()
    levels: Sequence[Level] = ()
    marks: Sequence[Mark] = ()
    x_axis: XAxis = EPOCHS
    is_log: bool = False

    @property
    def extent(self) -> Window:
        """The first and the last x of the curves."""
        xs = [x for one in self.series for x in (one.x[0], one.x[-1])]
        if not xs:
            return 0.0, 1.0
        # A single epoch has a width of its own, and so has a single moment.
        return min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1


@dataclass(frozen=True)
class _Axes:
    """The dot of each value in a raster."""

    x: Scale
    y: Scale
    raster: Raster

    def across(self, x: float) -> int:
        return self.x.dot(x)

    def down(self, y: float) -> int:
        return DOWN * self.raster.rows - 1 - self.y.dot(y)


class PlotCanvas(Widget):
    """A plot that is drawn only when something has changed.

    The mouse moves the crosshair, its wheel enlarges the curves, and they are dragged.
    The canvas only says so by messages: several plots can share one view.
    """

    DEFAULT_CSS = """
    PlotCanvas { width: 1fr; height: 1fr; }
    """

    @dataclass
    class Pointed(Message):
        """The mouse is at an x, or has left if `x` is None."""

        x: float | None

    @dataclass
    class Zoomed(Message):
        """The wheel asks for a window of another width around an x."""

        factor: float
        x: float

    @dataclass
    class Panned(Message):
        """The curves were dragged by a share of the window's width."""

        share: float

    def __init__(self) -> None:
        super().__init__()
        self._content = Picture()
        self._view = PlotView()
        self._version = 0
        self._key: tuple[object, ...] = ()
        self._drawn: tuple[_Axes, int] | None = None
        self._cross: float | None = None
        self._picture = Text()
        self._dragged: int | None = None

    def draw(self, content: Picture) -> None:
        """Show other curves."""
        self._content = content
        self._version += 1
        self.refresh()

    def look(self, view: PlotView) -> None:
        """Show another part of the curves, or another place of the crosshair."""
        if view != self._view:
            self._view = view
            self.refresh()

    def render(self) -> RenderResult:
        """Return the picture, or the last one if nothing has changed."""
        key = (self.size, self.app.theme, self._version, self._view.window)
        if key != self._key or self._view.cross != self._cross:
            if key != self._key:
                self._drawn = self._new_raster()
            self._key, self._cross = key, self._view.cross
            self._picture = self._new_picture()
        return self._picture

    def _new_raster(self) -> tuple[_Axes, int] | None:
        """Return the curves without the crosshair, and the width of the labels."""
        if not self._content.series or self.size.width < 2 or self.size.height < 2:
            return None
        window = self._view.shown(self._content.extent)
        rows = max(1, self.size.height - 2)
        y_scale = self._y_scale(window, rows)
        margin = max((len(label) for label, _ in y_scale.ticks), default=0)
        raster = Raster(max(1, self.size.width - margin - 1), rows)
        least = 1.0 if self._content.x_axis.is_whole else 0.0
        x_scale = even_scale(
            *window, raster.columns, ACROSS, apart=TICK_GAP, least=least
        )
        # Even ticks can leave room for a little more than the window.
        window = window[0], x_scale.value(ACROSS * raster.columns - 1)
        axes = _Axes(x_scale, y_scale, raster)
        self._draw_on(axes, window)
        return axes, margin

    def _new_picture(self) -> Text:
        if self._drawn is None:
            return Text()
        axes, margin = self._drawn
        raster = axes.raster
        if self._cross is not None:
            raster = raster.copy()
            self._draw_cross(_Axes(axes.x, axes.y, raster), self._cross)
        rows = raster.rows
        named = {rows - 1 - cell: label for label, cell in axes.y.ticks}
        lines = [
            Text.assemble(
                f"{named.get(row, ''):>{margin}}", "┤" if row in named else "│"
            ).append_text(raster.row(row))
            for row in range(rows)
        ]
        below = _x_axis(axes, margin, self.size.height - rows, self._content.x_axis)
        return Text("\n").join([*lines, *below])

    def _y_scale(self, window: Window, rows: int) -> Scale:
        """Return the scale of the values in a window; of the levels if it is all."""
        ys = [] if self._view.window else [y for _, y, _ in self._content.levels]
        for one in self._content.series:
            inside = _inside(one.x, window)
            ys += [
                y
                for each in (one.y, one.low, one.high)
                for y in each[inside]
                if y is not None
            ]
        low, high = (min(ys), max(ys)) if ys else (1.0, 1.0)
        apart = max(1 if rows < FEW else 2, rows // TICKS)
        if self._content.is_log:
            low, high = (low / 1.1, high * 1.1) if low == high else (low, high)
            return log_scale(low, high, rows, DOWN, apart=apart)
        room = (high - low) * ROOM or abs(low) * 0.1 or 1.0
        return even_scale(
            low - room, high + room, rows, DOWN, apart=apart, is_centered=True
        )

    def _draw_on(self, axes: _Axes, window: Window) -> None:
        raster, content = axes.raster, self._content
        for one in content.series:
            self._draw_band(axes, one, window)
        for one in sorted(content.series, key=lambda one: not one.faint):
            colour = self._blend(one.style.colour, FAINT if one.faint else 0.0)
            for segment in _segments(one, axes, window):
                before = segment[0]
                for point in segment:
                    raster.line(*before, *point, colour)
                    before = point
        for _, y, style in content.levels:
            for column in range(raster.columns):
                raster.back(column, axes.down(y) // DOWN, LEVEL, style.colour)
        for _, x in content.marks:
            for row in range(raster.rows):
                colour = self._blend(GREY, 0.3)
                raster.back(axes.across(x) // ACROSS, row, MARK, colour)
        bold = [one for one in content.series if not one.faint]
        for number, one in enumerate(bold):
            _draw_markers(axes, one, MARKER_GAP * number // len(bold), window)

    def _draw_band(self, axes: _Axes, one: PlotSeries, window: Window) -> None:
        colour = self._blend(one.style.colour, BAND)
        inside = _inside(one.x, window, beyond=1)
        known = [
            (axes.across(x) // ACROSS, axes.down(low), axes.down(high))
            for x, low, high in zip(
                one.x[inside], one.low[inside], one.high[inside], strict=False
            )
            if low is not None and high is not None
        ]
        columns = axes.raster.columns
        for before, after in zip(known, known[1:], strict=False):
            width = max(1, after[0] - before[0])
            for column in range(max(0, before[0]), min(columns - 1, after[0]) + 1):
                share = (column - before[0]) / width
                bottom, top = (
                    round(a + share * (b - a)) // DOWN
                    for a, b in zip(before[1:], after[1:], strict=True)
                )
                axes.raster.ground(column, top, bottom, colour)

    def _draw_cross(self, axes: _Axes, x: float) -> None:
        colour = Color.parse(self.app.theme_variables["foreground"]).rgb
        column = axes.across(x) // ACROSS
        for row in range(axes.raster.rows):
            axes.raster.back(column, row, CROSS, colour, over=LEVEL + MARK)
        for one in self._content.series:
            place = value_place(one, x, is_whole=self._content.x_axis.is_whole)
            if place is not None and not one.faint:
                y = one.y[place]
                if y is not None:
                    cell = axes.across(one.x[place]) // ACROSS, axes.down(y) // DOWN
                    axes.raster.sign(*cell, one.style.marker, one.style.colour)

    def _blend(self, colour: Colour, share: float) -> Colour:
        surface = Color.parse(self.app.theme_variables["surface"])
        return Color(*colour).blend(surface, share).rgb

    def _x_at(self, column: int) -> float | None:
        """Return x at a column of the widget; None if no curves are drawn."""
        if self._drawn is None:
            return None
        axes, margin = self._drawn
        inside = min(max(column - margin - 1, 0), axes.raster.columns - 1)
        return axes.x.value(ACROSS * inside + (ACROSS - 1) / 2)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Move the crosshair, or the curves while they are dragged."""
        if self._drawn is None:
            return
        if self._dragged is None:
            self.post_message(self.Pointed(self._x_at(event.x)))
        elif event.x != self._dragged:
            columns = self._drawn[0].raster.columns
            self.post_message(self.Panned((self._dragged - event.x) / columns))
            self._dragged = event.x

    def on_leave(self) -> None:
        """Remove the crosshair."""
        self.post_message(self.Pointed(None))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Begin to drag the curves."""
        self._dragged = event.x
        self.capture_mouse()

    def on_mouse_up(self) -> None:
        """End the dragging."""
        self._dragged = None
        self.release_mouse()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Enlarge the curves around the mouse."""
        self._zoom(event, WHEEL)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Show more of the curves."""
        self._zoom(event, 1 / WHEEL)

    def _zoom(self, event: events.MouseEvent, factor: float) -> None:
        if (x := self._x_at(event.x)) is not None:
            event.stop()
            self.post_message(self.Zoomed(factor, x))


def value_place(one: PlotSeries, x: float, *, is_whole: bool) -> int | None:
    """Return the index of a curve's value at the crosshair; None if it has none there.

    Args:
        one: the curve.
        x: place of the crosshair.
        is_whole: whether only a value at exactly `x` counts. On an axis of time, curves
            have values at different places, and the nearest one counts.
    """
    place = bisect_left(one.x, x)
    if place < len(one.x) and one.x[place] == x:
        return place
    if is_whole or not 0 < place < len(one.x):
        return None
    return place - (x - one.x[place - 1] <= one.x[place] - x)


def _inside(xs: Sequence[float], window: Window, beyond: int = 0) -> slice:
    """Return which places are in a window, and some beyond each end."""
    first, last = bisect_left(xs, window[0]), bisect_right(xs, window[1])
    return slice(max(0, first - beyond), last + beyond)


def _segments(one: PlotSeries, axes: _Axes, window: Window) -> Iterator[list[Point]]:
    """Yield the dots of each part of a curve without a missing value.

    Of many values in one column of dots there are the first, the lowest, the highest
    and the last one, so a long curve costs no more than a short one.
    """
    segment: list[Point] = []
    column: list[Point] = []
    inside = _inside(one.x, window, beyond=1)
    for point in _dots(one.x[inside], one.y[inside], axes, window):
        if point is None:
            if parts := segment + _outline(column):
                yield parts
            segment, column = [], []
            continue
        if column and point[0] != column[0][0]:
            segment += _outline(column)
            column = []
        column.append(point)
    if parts := segment + _outline(column):
        yield parts


def _dots(
    xs: Sequence[float], ys: Sequence[float | None], axes: _Axes, window: Window
) -> Iterator[Point | None]:
    """Yield the dot of each value, moved along its line to the edge of the window."""
    for place, (x, y) in enumerate(zip(xs, ys, strict=True)):
        if y is None:
            yield None
        elif window[0] <= x <= window[1]:
            yield axes.across(x), axes.down(y)
        else:
            other = place + 1 if x < window[0] else place - 1
            edge = window[0] if x < window[0] else window[1]
            next_y = ys[other] if 0 <= other < len(ys) else None
            if next_y is not None and xs[other] != x:
                share = (edge - x) / (xs[other] - x)
                down = axes.down(y) + share * (axes.down(next_y) - axes.down(y))
                yield axes.across(edge), round(down)


def _outline(column: list[Point]) -> list[Point]:
    if len(column) < 3:
        return column
    return [column[0], min(column), max(column), column[-1]]


def _draw_markers(axes: _Axes, one: PlotSeries, first: int, window: Window) -> None:
    """Put the marker of a curve on some of its values, which are on its line."""
    raster, inside = axes.raster, _inside(one.x, window)
    cells = [
        (axes.across(x) // ACROSS, axes.down(y) // DOWN)
        for x, y in zip(one.x[inside], one.y[inside], strict=True)
        if y is not None
    ]
    # Each curve has its markers elsewhere, so that equal curves are all visible.
    following, count = first, 0
    for column, row in cells:
        wanted = one.every or column >= following
        if wanted and not raster.is_signed(column, row):
            raster.sign(column, row, one.style.marker, one.style.colour)
            following, count = column + MARKER_GAP, count + 1
    if cells and not count:
        raster.sign(*cells[-1], one.style.marker, one.style.colour)


def _x_axis(axes: _Axes, margin: int, rows: int, x_axis: XAxis) -> list[Text]:
    """Return the axis below the curves, and the names of its ticks if there is room."""
    columns = axes.raster.columns
    line, names = ["─"] * columns, [" "] * columns
    placed, free = [], 0
    for label, cell in axes.x.ticks:
        line[cell] = "┬"
        start = max(0, min(cell - len(label) // 2, columns - len(label)))
        if start >= free:
            names[start : start + len(label)] = label
            free = start + len(label) + 1
            placed.append(slice(start, start + len(label)))
    # The name of the axis is as far right as there is room between the ticks' names.
    # Where there is none, ticks lose theirs, but not the first and the last one.
    room = f"  {x_axis.name}  "
    blank = " " * len(room)
    while (start := "".join([*names, "  "]).rfind(blank)) < 0 and len(placed) > 2:
        hidden = placed.pop(-2)
        names[hidden] = " " * (hidden.stop - hidden.start)
    if start >= 0:
        names[start : start + len(room)] = room[: columns - start]
    lines = [
        Text(" " * margin + "└" + "".join(line)),
        Text(" " * (margin + 1) + "".join(names)),
    ]
    return lines[-rows:] if rows else []
