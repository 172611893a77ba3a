"""Curves drawn with characters.

The curves are drawn here and not by plotext, which rounds the places of signs and of
lines differently, so that markers stand beside their lines, and which connects what is
left and right of a missing value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text
from textual.app import RenderResult
from textual.color import Color
from textual.widget import Widget

from launcher.palette import SeriesStyle
from launcher.widgets.raster import ACROSS, DOWN, Colour, Raster

LEVEL, MARK = "┄", "│"
MARKER_GAP = 12  # columns between two markers of a curve
TICK_GAP = 12  # columns between two ticks
FAINT = 0.65  # share of the background in a faint color
BAND = 0.8  # share of the background in a band
GREY = (128, 128, 128)

Level = tuple[str, float, SeriesStyle]
Mark = tuple[str, float]
Point = tuple[int, int]


@dataclass(frozen=True)
class PlotSeries:
    """One curve.

    Attributes:
        label: its text in the legend.
        x: increasing.
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
class _Axes:
    """The place of each value in a raster."""

    begin: float
    end: float
    low: float
    high: float
    raster: Raster

    def across(self, x: float) -> int:
        share = (x - self.begin) / (self.end - self.begin)
        return round(share * (ACROSS * self.raster.columns - 1))

    def down(self, y: float) -> int:
        share = (self.high - y) / (self.high - self.low)
        return round(share * (DOWN * self.raster.rows - 1))


class PlotCanvas(Widget):
    """A plot that is drawn only when something has changed."""

    DEFAULT_CSS = """
    PlotCanvas { width: 1fr; height: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._series: Sequence[PlotSeries] = ()
        self._levels: Sequence[Level] = ()
        self._marks: Sequence[Mark] = ()
        self._key: tuple[object, ...] = ()
        self._version = 0
        self._picture = Text()

    def draw(
        self,
        series: Sequence[PlotSeries],
        levels: Sequence[Level],
        marks: Sequence[Mark],
    ) -> None:
        """Show other curves, whose values are finite or None, each with a value."""
        self._series, self._levels, self._marks = series, levels, marks
        self._version += 1
        self.refresh()

    def render(self) -> RenderResult:
        """Return the picture, or the last one if nothing has changed."""
        key = (self.size, self.app.theme, self._version)
        if key != self._key:
            self._key = key
            self._picture = self._new_picture()
        return self._picture

    def _new_picture(self) -> Text:
        if not self._series or self.size.width < 2 or self.size.height < 2:
            return Text()
        low, high = self._heights()
        rows = max(1, self.size.height - 2)
        heights = ticks(low, high, max(2, rows // 2))
        labels = [label for label, _ in tick_labels(heights)]
        margin = max(map(len, labels), default=0)
        begin, end = self._places()
        raster = Raster(max(1, self.size.width - margin - 1), rows)
        axes = _Axes(begin, end, low, high, raster)
        self._draw_on(raster, axes)
        named = {
            axes.down(y) // DOWN: label
            for y, label in zip(heights, labels, strict=True)
        }
        lines = [
            Text.assemble(
                f"{named.get(row, ''):>{margin}}", "┤" if row in named else "│"
            ).append_text(raster.row(row))
            for row in range(rows)
        ]
        return Text("\n").join(
            [*lines, *_x_axis(axes, margin, self.size.height - rows)]
        )

    def _places(self) -> tuple[float, float]:
        """Return the first and the last x."""
        xs = [x for one in self._series for x in (one.x[0], one.x[-1])]
        return min(xs), max(max(xs), min(xs) + 1)

    def _heights(self) -> tuple[float, float]:
        """Return the lowest and the highest y, with a little room around the values."""
        ys = [y for _, y, _ in self._levels]
        for one in self._series:
            ys += [
                y for each in (one.y, one.low, one.high) for y in each if y is not None
            ]
        low, high = min(ys), max(ys)
        room = (high - low) * 0.05 or abs(low) * 0.1 or 1.0
        return low - room, high + room

    def _draw_on(self, raster: Raster, axes: _Axes) -> None:
        for one in self._series:
            self._draw_band(raster, axes, one)
        for one in sorted(self._series, key=lambda one: not one.faint):
            colour = self._blend(one.style.colour, FAINT if one.faint else 0.0)
            for segment in _segments(one, axes):
                before = segment[0]
                for point in segment:
                    raster.line(*before, *point, colour)
                    before = point
        for _, y, style in self._levels:
            for column in range(raster.columns):
                raster.back(column, axes.down(y) // DOWN, LEVEL, style.colour)
        for _, x in self._marks:
            for row in range(raster.rows):
                colour = self._blend(GREY, 0.3)
                raster.back(axes.across(x) // ACROSS, row, MARK, colour)
        bold = [one for one in self._series if not one.faint]
        for number, one in enumerate(bold):
            _draw_markers(raster, axes, one, MARKER_GAP * number // len(bold))

    def _draw_band(self, raster: Raster, axes: _Axes, one: PlotSeries) -> None:
        colour = self._blend(one.style.colour, BAND)
        known = [
            (axes.across(x) // ACROSS, axes.down(low), axes.down(high))
            for x, low, high in zip(one.x, one.low, one.high, strict=False)
            if low is not None and high is not None
        ]
        for before, after in zip(known, known[1:], strict=False):
            width = max(1, after[0] - before[0])
            for column in range(before[0], after[0] + 1):
                share = (column - before[0]) / width
                bottom, top = (
                    round(a + share * (b - a)) // DOWN
                    for a, b in zip(before[1:], after[1:], strict=True)
                )
                raster.ground(column, top, bottom, colour)

    def _blend(self, colour: Colour, share: float) -> Colour:
        surface = Color.parse(self.app.theme_variables["surface"])
        return Color(*colour).blend(surface, share).rgb


def _segments(one: PlotSeries, axes: _Axes) -> Iterator[list[Point]]:
    """Yield the dots of each part of a curve without a missing value.

    Of many values in one column of dots there are the first, the lowest, the highest
    and the last one, so a long curve costs no more than a short one.
    """
    segment: list[Point] = []
    column: list[Point] = []
    for x, y in zip(one.x, one.y, strict=True):
        if y is None:
            if parts := segment + _outline(column):
                yield parts
            segment, column = [], []
            continue
        point = axes.across(x), axes.down(y)
        if column and point[0] != column[0][0]:
            segment += _outline(column)
            column = []
        column.append(point)
    if parts := segment + _outline(column):
        yield parts


def _outline(column: list[Point]) -> list[Point]:
    if len(column) < 3:
        return column
    return [column[0], min(column), max(column), column[-1]]


def _draw_markers(raster: Raster, axes: _Axes, one: PlotSeries, first: int) -> None:
    """Put the marker of a curve on some of its values, which are on its line."""
    cells = [
        (axes.across(x) // ACROSS, axes.down(y) // DOWN)
        for x, y in zip(one.x, one.y, strict=True)
        if y is not None
    ]
    # Each curve has its markers elsewhere, so that equal curves are all visible.
    following, count = first, 0
    for column, row in cells:
        wanted = one.every or column >= following
        if wanted and not raster.is_signed(column, row):
            raster.sign(column, row, one.style.marker, one.style.colour)
            following, count = column + MARKER_GAP, count + 1
    if not count:
        raster.sign(*cells[-1], one.style.marker, one.style.colour)


def _x_axis(axes: _Axes, margin: int, rows: int) -> list[Text]:
    """Return the axis below the curves, and the names of its ticks if there is room."""
    columns = axes.raster.columns
    places = whole_ticks(axes.begin, axes.end, max(2, columns // TICK_GAP))
    line, names = ["─"] * columns, [" "] * columns
    free = 0
    for label, x in tick_labels(places):
        column = axes.across(x) // ACROSS
        line[column] = "┬"
        start = max(0, min(column - len(label) // 2, columns - len(label)))
        if start >= free:
            names[start : start + len(label)] = label
            free = start + len(label) + 1
    lines = [
        Text(" " * margin + "└" + "".join(line)),
        Text(" " * (margin + 1) + "".join(names)),
    ]
    return lines[-rows:] if rows else []


def whole_ticks(begin: float, end: float, most: int) -> list[float]:
    """Return at most `most` + 1 whole numbers at equal distances."""
    return ticks(begin, end, most, least=1.0)


def ticks(low: float, high: float, most: int, *, least: float = 0.0) -> list[float]:
    """Return at most `most` + 1 round numbers at equal distances.

    Args:
        low: the smallest number allowed.
        high: the largest one.
        most: number of distances.
        least: smallest distance.
    """
    rough = max((high - low) / most, least)
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next((unit * by for by in (1, 2, 5) if unit * by >= rough), unit * 10)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [number * step for number in range(first, last + 1)]


def tick_labels(places: Sequence[float]) -> list[tuple[str, float]]:
    """Return a label for each tick, with as many decimals as tell them apart."""
    if len(places) < 2:
        return [(f"{place:.4g}", place) for place in places]
    step, largest = places[1] - places[0], max(map(abs, places))
    if largest >= 1e6 or step < 1e-6:
        digits = max(1, math.ceil(math.log10(largest / step)) + 1)
        return [(f"{place:.{min(digits, 6)}g}", place) for place in places]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [(f"{place:.{decimals}f}", place) for place in places]
