"""The curves of a plot as an SVG or PNG file."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Sequence
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmtard.runs import RunError, write_atomic
from kmtard.runs.visible import visible

if TYPE_CHECKING:
    from launcher.widgets.axes import XAxis
    from launcher.widgets.metric_plot import PlotSeries
    from launcher.widgets.plot_view import Window

SUFFIXES = (".svg", ".png")
MARKERS = {
    "●": "o",
    "■": "s",
    "▲": "^",
    "◆": "D",
    "▼": "v",
    "★": "*",
    "+": "P",
    "×": "X",
}
SIZE = (6.4, 4.0)  # inches
RESOLUTION = 200  # dots per inch, of PNG
MARKED = 12  # approximate number of markers per curve
FALLBACKS = ("Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Unifont")


def write_figure(
    path: Path,
    series: Sequence[PlotSeries],
    *,
    x_axis: XAxis,
    y_label: str,
    is_log: bool = False,
    window: Window | None = None,
) -> None:
    """Write a figure in the format that the name of the file ends with.

    Args:
        path: ends with one of `SUFFIXES`.
        series: the curves; missing and non-finite values are gaps, and those that are
            not above 0 on a logarithmic axis.
        x_axis: the x axis. If its values are whole numbers, its ticks are, too.
        y_label: label of the y axis.
        is_log: whether the y axis is logarithmic.
        window: first and last x of the figure; all if None.

    Raises:
        RunError: it cannot be drawn or written.
    """
    try:
        kind = path.suffix.lower()[1:]
        content = _drawn(series, x_axis, y_label, kind, is_log, window)
    # OSError: Matplotlib writes a cache, for which a full disk has no room.
    except (ImportError, OSError, ValueError) as error:
        raise RunError(f"Cannot draw {path}: {error}.") from error
    write_atomic(path, content)


def _drawn(
    series: Sequence[PlotSeries],
    x_axis: XAxis,
    y_label: str,
    kind: str,
    is_log: bool,
    window: Window | None,
) -> bytes:
    # Its warnings would be written over the screen.
    logging.getLogger("matplotlib").setLevel(logging.CRITICAL)
    from matplotlib import font_manager, rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    installed = set(font_manager.get_font_names())
    fonts = ["DejaVu Sans", *(name for name in FALLBACKS if name in installed)]
    # Text in an SVG stays text, as viewers have fonts for every script.
    settings: Any = {
        "font.family": fonts,
        "svg.fonttype": "none",
        "svg.hashsalt": "kmtard",
    }
    with rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot()
        for number, one in enumerate(series):
            axes.plot(
                one.x,
                [nan if y is None or not isfinite(y) else y for y in one.y],
                label=f"{number}",
                color=[channel / 255 for channel in one.style.colour],
                marker=MARKERS.get(one.style.marker, "o"),
                markevery=max(1, len(one.x) // MARKED),
                markersize=5,
                linewidth=1.4,
            )
            if one.low and one.high:
                low, high = (
                    [nan if y is None or not isfinite(y) else y for y in ends]
                    for ends in (one.low, one.high)
                )
                colour = [channel / 255 for channel in one.style.colour]
                axes.fill_between(one.x, low, high, color=colour, alpha=0.2, lw=0)
        axes.set(xlabel=x_axis.name, ylabel=y_label)
        # With `min_n_ticks` above 1, a single epoch would have ticks beside it.
        locator = MaxNLocator("auto", integer=x_axis.is_whole, min_n_ticks=1)
        axes.xaxis.set_major_locator(locator)
        if is_log:
            axes.set_yscale("log", nonpositive="mask")
        if window:
            _show_window(axes, series, window)
        axes.grid(alpha=0.3)
        # `plot` would read a label as a formula, or hide it for an underscore.
        for text, one in zip(axes.legend().get_texts(), series, strict=True):
            text.set_text(visible(one.label))
            text.set_parse_math(False)
        content = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(content, format=kind, dpi=RESOLUTION, metadata=metadata)
    return content.getvalue()


def _show_window(axes: Any, series: Sequence[PlotSeries], window: Window) -> None:
    """Show a part of the curves, as high as the values in it."""
    ys = [
        y
        for one in series
        for x, y in zip(one.x, one.y, strict=True)
        if window[0] <= x <= window[1] and y is not None and isfinite(y)
    ]
    axes.set_xlim(window)
    if axes.get_yscale() == "log":
        ys = [y for y in ys if y > 0]
    if ys and min(ys) < max(ys):
        low, high = min(ys), max(ys)
        room = 0.0 if axes.get_yscale() == "log" else 0.05 * (high - low)
        axes.set_ylim(low - room, high + room)
