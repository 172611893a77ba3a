"""The part of the curves that a plot shows, and its crosshair."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

DEEPEST = 10_000  # times the curves can be enlarged

Window = tuple[float, float]
"""The first and the last x."""


@dataclass(frozen=True)
class PlotView:
    """The part of the x axis that is shown, and the crosshair.

    Attributes:
        window: what is shown; None for all, also of curves that still grow.
        cross: x of the crosshair; None for no crosshair.

    Example:
        >>> PlotView().zoomed((0.0, 100.0), 0.5, 50.0).window
        (25.0, 75.0)
    """

    window: Window | None = None
    cross: float | None = None

    def shown(self, extent: Window) -> Window:
        """Return the window, or the whole extent of the curves."""
        return self.window or extent

    def zoomed(self, extent: Window, factor: float, around: float) -> PlotView:
        """Return a view of more or less of the curves.

        Args:
            extent: the first and the last x of the curves.
            factor: of the window's width, below 1 to enlarge the curves.
            around: x that keeps its place.
        """
        first, last = self.shown(extent)
        whole = extent[1] - extent[0]
        factor = max(factor, whole / DEEPEST / (last - first))
        if factor * (last - first) >= whole:
            return replace(self, window=None)
        around = min(max(around, first), last)
        begin = around - factor * (around - first)
        return self._moved(extent, begin, factor * (last - first))

    def panned(self, extent: Window, share: float) -> PlotView:
        """Return a view moved by a share of its width, never beyond the curves."""
        if self.window is None:
            return self
        first, last = self.window
        return self._moved(extent, first + share * (last - first), last - first)

    def _moved(self, extent: Window, begin: float, width: float) -> PlotView:
        begin = min(max(begin, extent[0]), extent[1] - width)
        return replace(self, window=(begin, begin + width))

    def pointed(self, xs: Sequence[float], x: float) -> PlotView:
        """Return a view with the crosshair at the place that is nearest to `x`.

        Args:
            xs: places that have a value, increasing.
            x: where the mouse is.
        """
        return replace(self, cross=xs[nearest(xs, x)] if xs else None)

    def stepped(self, xs: Sequence[float], by: int, extent: Window) -> PlotView:
        """Return a view with the crosshair some values further.

        Without a crosshair it appears at the last value that is shown. The window
        follows it.

        Args:
            xs: places that have a value, increasing.
            by: number of values.
            extent: the first and the last x of the curves.
        """
        if not xs:
            return self
        first, last = self.shown(extent)
        if self.cross is None:
            inside = [x for x in xs if first <= x <= last]
            return replace(self, cross=(inside or xs)[-1])
        place = nearest(xs, self.cross) + by
        cross = xs[min(max(place, 0), len(xs) - 1)]
        view = replace(self, cross=cross)
        if first <= cross <= last:
            return view
        width = last - first
        return view._moved(extent, cross if cross < first else cross - width, width)


def nearest(xs: Sequence[float], x: float) -> int:
    """Return the place of the number that is nearest to `x` in an increasing list.

    Example:
        >>> nearest([1.0, 2.0, 4.0], 2.9)
        1
    """
    place = bisect_left(xs, x)
    if place == 0 or place == len(xs):
        return min(place, len(xs) - 1)
    return place - (x - xs[place - 1] <= xs[place] - x)
