"""Curves drawn with characters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.text import Text
from textual.app import RenderResult
from textual.color import Color
from textual_plotext import PlotextPlot

from launcher.palette import SeriesStyle

LINE, LEVEL, MARK = "braille", "┄", "│"
MARKER_GAP = 12  # columns between two markers of a curve
TICK_GAP = 12  # columns between two ticks
FAINT = 0.65  # share of the background in a faint color

Level = tuple[str, float, SeriesStyle]
Mark = tuple[str, float]


@dataclass(frozen=True)
class PlotSeries:
    """One curve.

    Attributes:
        label: its text in the legend.
        x: increasing.
        y: values; those that are None or not finite are not drawn.
        style: color and marker.
        faint: whether it is drawn below the others, without markers and legend.
        every: whether each value has a marker, also where they are close.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    style: SeriesStyle
    faint: bool = False
    every: bool = False


class PlotCanvas(PlotextPlot):
    """A plot that is drawn only when something has changed, as plotext is slow."""

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
        """Show other curves, whose values are all finite."""
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
        self.plt.clear_figure()
        columns = max(1, self.size.width - 8)
        begin, end = self._limit()
        for one in sorted(self._series, key=lambda one: not one.faint):
            self._plot_line(_thinned(one, 2 * columns))
        for _, y, style in self._levels:
            self.plt.plot([begin, end], [y, y], marker=LEVEL, color=style.colour)
        for _, x in self._marks:
            self.plt.vertical_line(x, self._blend((128, 128, 128), 0.3))
        gap = max(1, round((end - begin) * MARKER_GAP / columns))
        bold = [one for one in self._series if not one.faint]
        for number, one in enumerate(bold):
            self._plot_markers(one, gap, gap * number // len(bold))
        picture = super().render()
        return picture if isinstance(picture, Text) else Text(str(picture))

    def _limit(self) -> tuple[float, float]:
        """Set the axes; return the first and the last x."""
        xs = [x for one in self._series for x in (one.x[0], one.x[-1])]
        ys = [y for one in self._series for y in one.y if y is not None]
        ys += [y for _, y, _ in self._levels]
        begin, end = min(xs), max(max(xs), min(xs) + 1)
        self.plt.xaxes(True, False)
        self.plt.yaxes(True, False)
        low, high = min(ys), max(ys)
        room = (high - low) * 0.05 or abs(low) * 0.1 or 1.0
        self.plt.xlim(begin, end)
        self.plt.ylim(low - room, high + room)
        self.plt.xticks(_whole_ticks(begin, end, max(2, self.size.width // TICK_GAP)))
        heights = _ticks(low - room, high + room, max(2, self.size.height // 2))
        self.plt.yticks(heights, [f"{y:.4g}" for y in heights])
        return begin, end

    def _plot_line(self, one: PlotSeries) -> None:
        colour = self._blend(one.style.colour, FAINT if one.faint else 0.0)
        if len(one.x) > 1:
            self.plt.plot(list(one.x), list(one.y), marker=LINE, color=colour)

    def _plot_markers(self, one: PlotSeries, gap: int, first: int) -> None:
        # Each curve has its markers elsewhere, so that equal curves are all visible.
        places = [
            i for i, x in enumerate(one.x) if one.every or round(x - first) % gap == 0
        ]
        places = places if places else [len(one.x) - 1]
        self.plt.scatter(
            [one.x[i] for i in places],
            [one.y[i] for i in places],
            marker=one.style.marker,
            color=one.style.colour,
        )

    def _blend(
        self, colour: tuple[int, int, int], share: float
    ) -> tuple[int, int, int]:
        surface = Color.parse(self.app.theme_variables["surface"])
        return Color(*colour).blend(surface, share).rgb


def _thinned(one: PlotSeries, most: int) -> PlotSeries:
    """Return the lowest and the highest point of each visible part."""
    points = list(zip(one.x, one.y, strict=True))
    if len(points) <= most:
        return one
    parts = max(1, most // 2)
    kept = {points[0], points[-1]}
    for part in range(parts):
        some = points[len(points) * part // parts : len(points) * (part + 1) // parts]
        kept |= {min(some, key=_height), max(some, key=_height)}
    order = sorted(kept)
    return replace(one, x=[x for x, _ in order], y=[y for _, y in order])


def _height(point: tuple[float, float | None]) -> float:
    return point[1] or 0.0


def _whole_ticks(begin: float, end: float, most: int) -> list[float]:
    return [x for x in _ticks(begin, end, most) if x == round(x)]


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most `most` round numbers between two numbers."""
    rough = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * by for by in (1, 2, 5, 10) if unit * by >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [number * step for number in range(first, last + 1)]
