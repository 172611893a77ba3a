"""The figures of a report. Matplotlib is imported only when a figure is drawn.

The colors are those of Okabe and Ito, and every series also has its own marker or
hatching. So a figure can be read in gray and by color-blind readers.
"""

from __future__ import annotations

import io
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import TYPE_CHECKING, Any, cast

from kmtard.runs.files import RunError
from kmtard.runs.visible import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7"),
    *("#c98a00", "#56b4e9", "#8a6fd1", "#808080"),
)
MARKERS = "osD^vPX*"
LINES = ("-", "--", "-.", ":")
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++", "ooo", "---")
INK = "#010203"
"""Color of text and axes. A page replaces it with the color of its own text."""

WIDTH = 7.2  # inches
PANEL_HEIGHT = 2.9
RESOLUTION = 160  # dots per inch of a PNG
FONTS = (
    *("DejaVu Sans", "Noto Sans CJK JP", "Noto Sans CJK SC"),
    *("WenQuanYi Zen Hei", "Unifont"),
)
MARKED = 10  # approximate number of markers per line
LONGEST_LABEL = 44  # characters
BAR_LINE = 80  # characters that fit below the bars
GRID_LINE = 40  # characters that fit below one of two grids
MOST_NUMBERS = 12  # a grid with more columns has no room for numbers in its cells

Values = Sequence[float | None]
Spread = float | tuple[float, float] | None
"""Half the length of an error bar; or its parts below and above; None for no bar."""


@dataclass(frozen=True, kw_only=True)
class Drawing(ABC):
    """A figure.

    Attributes:
        caption: text below the figure.
    """

    caption: str

    @property
    @abstractmethod
    def size(self) -> tuple[float, float]:
        """Width and height in inches."""

    @abstractmethod
    def draw(self, figure: Figure) -> None:
        """Draw on an empty Matplotlib figure."""


@dataclass(frozen=True)
class Curve:
    """One line of a panel.

    Attributes:
        label: its name in the legend.
        x: positions.
        y: one value per position; None is a gap.
        spread: the band around the line, per position.
        look: number of its color, marker and line style. If None, it is the position
            of the curve in the panel.
    """

    label: str
    x: Sequence[float]
    y: Values
    spread: Sequence[Spread] = ()
    look: int | None = None


@dataclass(frozen=True)
class Panel:
    """Lines that share two axes.

    Attributes:
        y_label: name of the vertical axis.
        curves: the lines.
        x_label: name of the horizontal axis.
    """

    y_label: str
    curves: Sequence[Curve]
    x_label: str = "epoch"


@dataclass(frozen=True, kw_only=True)
class Curves(Drawing):
    """Panels of lines, two per row, with one legend for all.

    Attributes:
        panels: the panels.
    """

    panels: Sequence[Panel]

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches."""
        legend = len({curve.label for panel in self.panels for curve in panel.curves})
        rows = (len(self.panels) + 1) // 2
        return WIDTH, PANEL_HEIGHT * rows + 0.22 * ((legend + 1) // 2) + 0.2

    def draw(self, figure: Figure) -> None:
        """Draw the panels and the legend below them."""
        columns = 1 if len(self.panels) == 1 else 2
        rows = (len(self.panels) + columns - 1) // columns
        handles: dict[str, Any] = {}
        for place, panel in enumerate(self.panels):
            axes = figure.add_subplot(rows, columns, place + 1)
            axes.set(xlabel=panel.x_label, ylabel=panel.y_label)
            axes.grid(alpha=0.3)
            for number, curve in enumerate(panel.curves):
                line = _line(axes, curve, number)
                handles.setdefault(curve.label, line)
            _whole_ticks(axes, panel)
        _legend(figure, handles)


def _line(axes: Axes, curve: Curve, place: int) -> Any:
    look = place if curve.look is None else curve.look
    y = [nan if each is None or not isfinite(each) else each for each in curve.y]
    color = COLORS[look % len(COLORS)]
    [line] = axes.plot(
        curve.x,
        y,
        color=color,
        marker=MARKERS[look % len(MARKERS)],
        markevery=max(1, len(curve.x) // MARKED),
        # Earlier lines are thicker, so that they show below a line that covers them.
        markersize=max(3.5, 7.5 - place),
        linewidth=max(1.2, 3 - 0.5 * place),
        linestyle=LINES[look // len(COLORS) % len(LINES)],
    )
    if any(curve.spread):
        spread = list(map(_sides, curve.spread))
        low = [value - below for value, (below, _) in zip(y, spread, strict=True)]
        high = [value + above for value, (_, above) in zip(y, spread, strict=True)]
        axes.fill_between(curve.x, low, high, color=color, alpha=0.14, linewidth=0)
    return line


def _sides(spread: Spread) -> tuple[float, float]:
    """Return the parts of an error bar below and above its value."""
    return spread if isinstance(spread, tuple) else (spread or 0.0, spread or 0.0)


def _whole_ticks(axes: Axes, panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator

    if panel.x_label == "epoch":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))


@dataclass(frozen=True)
class BarSeries:
    """Bars of one color and hatching, one per group.

    Attributes:
        label: its name in the legend.
        values: one value per group; None is a gap.
        spreads: the error bar of each value.
    """

    label: str
    values: Values
    spreads: Sequence[Spread]


@dataclass(frozen=True, kw_only=True)
class Bars(Drawing):
    """Groups of bars with error bars.

    Attributes:
        groups: names of the groups.
        series: the bars.
        y_label: name of the vertical axis.
        is_share: whether the values are in %. Then the axis is from 0 to 100;
            otherwise it starts near the lowest bar, to show differences.
    """

    groups: Sequence[str]
    series: Sequence[BarSeries]
    y_label: str
    is_share: bool = False

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches."""
        return WIDTH, 3.4 + 0.22 * ((len(self.series) + 1) // 2)

    def draw(self, figure: Figure) -> None:
        """Draw the bars."""
        axes = figure.add_subplot()
        width = 0.8 / len(self.series)
        handles = {}
        for number, one in enumerate(self.series):
            shift = (number - (len(self.series) - 1) / 2) * width
            places = [place + shift for place in range(len(self.groups))]
            handles[one.label] = axes.bar(
                places,
                [nan if value is None else value for value in one.values],
                width,
                color=COLORS[number % len(COLORS)],
                hatch=HATCHES[number % len(HATCHES)],
                edgecolor=INK,
                linewidth=0.6,
                yerr=list(zip(*map(_sides, one.spreads), strict=True)),
                error_kw={"ecolor": INK, "capsize": 3, "elinewidth": 1},
            )
        known = [v for one in self.series for v in one.values if v is not None]
        sides = [max(_sides(each)) for one in self.series for each in one.spreads]
        spread = max(sides or [0.0])
        room = max(max(known) - min(known), 2 * spread, 1.0)
        low, high = max(0.0, min(known) - room), max(known) + spread + 0.15 * room
        axes.set_ylim(*((0.0, 102.0) if self.is_share else (low, high)))
        axes.set(ylabel=self.y_label)
        names = list(map(_short, self.groups))
        axes.set_xticks(range(len(names)), names)
        _turn_if_long(axes, names, BAR_LINE)
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
        _legend(figure, handles)


def _turn_if_long(axes: Axes, names: Sequence[str], room: int) -> None:
    """Write the names below an axis upwards if they would overlap."""
    if len(names) * max(map(len, names), default=0) > room:
        axes.tick_params(axis="x", labelrotation=90)


@dataclass(frozen=True)
class Point:
    """One point of a plane.

    Attributes:
        label: its name in the legend.
        x: clean accuracy in %.
        y: robust accuracy in %.
        x_spread: half the length of the horizontal error bar.
        y_spread: half the length of the vertical error bar.
        look: number of its color and marker.
        is_paper: whether the number is the paper's. Such a point is drawn hollow.
    """

    label: str
    x: float
    y: float
    x_spread: float = 0.0
    y_spread: float = 0.0
    look: int = 0
    is_paper: bool = False


@dataclass(frozen=True, kw_only=True)
class Plane(Drawing):
    """Clean against robust accuracy, with lines of equal W-Robust accuracy.

    Attributes:
        points: the points.
        y_label: name of the vertical axis.
    """

    points: Sequence[Point]
    y_label: str

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches."""
        return WIDTH, 4.6 + 0.22 * ((len(self.points) + 1) // 2)

    def draw(self, figure: Figure) -> None:
        """Draw the points over the lines."""
        axes = figure.add_subplot()
        handles = {}
        for point in self.points:
            color = COLORS[point.look % len(COLORS)]
            handles[point.label] = axes.errorbar(
                [point.x],
                [point.y],
                xerr=point.x_spread or None,
                yerr=point.y_spread or None,
                fmt=MARKERS[point.look % len(MARKERS)],
                color=color,
                markerfacecolor="none" if point.is_paper else color,
                markersize=8,
                capsize=3,
                elinewidth=1,
            )
        axes.margins(0.15)
        axes.set(xlabel="clean accuracy, %", ylabel=self.y_label)
        axes.autoscale_view()
        _equal_lines(axes)
        _legend(figure, handles)


def _equal_lines(axes: Axes) -> None:
    """Draw lines on which the mean of clean and robust accuracy is the same."""
    from matplotlib.ticker import MaxNLocator

    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    if right - left < 2:
        left, right = left - 1, right + 1
    if high - low < 2:
        low, high = low - 1, high + 1
    axes.set(xlim=(left, right), ylim=(low, high))
    for mean in MaxNLocator(nbins=7).tick_values((left + low) / 2, (right + high) / 2):
        # The part of the line x + y = 2 mean that lies inside the axes.
        begin, end = max(left, 2 * mean - high), min(right, 2 * mean - low)
        if end - begin < 0.04 * (right - left):
            continue
        axes.plot(
            [begin, end],
            [2 * mean - begin, 2 * mean - end],
            color=INK,
            linestyle=(0, (4, 4)),
            linewidth=0.7,
            alpha=0.45,
            zorder=0,
        )
        axes.annotate(
            f"{mean:g}",
            (begin, 2 * mean - begin),
            xytext=(4, -9),
            textcoords="offset points",
            fontsize=7.5,
            color=INK,
            alpha=0.75,
            zorder=0,
        )


@dataclass(frozen=True)
class Grid:
    """A rectangle of values in [0, 100].

    Attributes:
        title: title above the grid.
        rows: names of the rows.
        columns: names of the columns.
        values: one value per row and column; None is a gap.
        x_label: name of the horizontal axis.
        y_label: name of the vertical axis.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Values]
    x_label: str
    y_label: str = ""


@dataclass(frozen=True, kw_only=True)
class Grids(Drawing):
    """Grids of colored cells. Darker cells have higher values, shown if there is room.

    Attributes:
        grids: the grids.
        is_beside: whether the grids are drawn side by side.
    """

    grids: Sequence[Grid]
    is_beside: bool = False

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches."""
        if self.is_beside:
            return WIDTH * 1.25, 0.62 * WIDTH
        return WIDTH, sum(1.1 + 0.27 * len(grid.rows) for grid in self.grids)

    def draw(self, figure: Figure) -> None:
        """Draw the grids."""
        heights = [1.1 + 0.27 * len(grid.rows) for grid in self.grids]
        shape = (1, len(self.grids)) if self.is_beside else (len(self.grids), 1)
        ratios = None if self.is_beside else heights
        spec = figure.add_gridspec(*shape, height_ratios=ratios)
        for number, grid in enumerate(self.grids):
            _cells(figure.add_subplot(spec[number]), grid)


def _cells(axes: Axes, grid: Grid) -> None:
    values = [[nan if v is None else v for v in row] for row in grid.values]
    axes.imshow(values, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    axes.set_title(visible(grid.title), fontsize=10, color=INK)
    axes.set(xlabel=grid.x_label, ylabel=grid.y_label)
    names = list(map(_short, grid.columns))
    axes.set_xticks(range(len(names)), names)
    _turn_if_long(axes, names, GRID_LINE)
    axes.set_yticks(range(len(grid.rows)), [_short(each) for each in grid.rows])
    axes.tick_params(length=0, labelsize=8)
    if len(grid.columns) > MOST_NUMBERS:
        return
    for row, line in enumerate(grid.values):
        for column, value in enumerate(line):
            if value is not None:
                color = "#ffffff" if value > 55 else "#10131a"
                axes.text(
                    *(column, row, f"{value:.0f}"),
                    ha="center",
                    va="center",
                    fontsize=7,
                    color=color,
                )


@dataclass(frozen=True)
class Tile:
    """One image.

    Attributes:
        pixels: rows of pixels in 0 .. 255. A pixel is one number, or three for red,
            green and blue.
        title: text above the image.
    """

    pixels: Any
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class Gallery(Drawing):
    """Rows of small images.

    Attributes:
        rows: (name, images) per row, with the same number of images in each.
    """

    rows: Sequence[tuple[str, Sequence[Tile]]]

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches."""
        columns = max(len(tiles) for _, tiles in self.rows)
        return WIDTH, len(self.rows) * (WIDTH / max(columns, 8) + 0.12)

    def draw(self, figure: Figure) -> None:
        """Draw the images without interpolation."""
        columns = max(8, *(len(tiles) for _, tiles in self.rows))
        for row, (name, tiles) in enumerate(self.rows):
            for column, tile in enumerate(tiles):
                axes = figure.add_subplot(
                    len(self.rows), columns, row * columns + column + 1
                )
                axes.imshow(
                    tile.pixels, cmap="gray", vmin=0, vmax=255, interpolation="none"
                )
                axes.set_xticks([])
                axes.set_yticks([])
                axes.set_title(visible(tile.title), fontsize=8, pad=3, color=INK)
                if column == 0:
                    axes.set_ylabel(visible(name), fontsize=8)


def rendered(drawing: Drawing, kind: str, *, is_clear: bool = False) -> bytes:
    """Return a figure as the content of a file.

    Args:
        drawing: the figure.
        kind: `svg` or `png`.
        is_clear: whether the background is transparent.

    Raises:
        RunError: it cannot be drawn, for example because the disk has no space for
            Matplotlib's cache.

    Example:
        >>> plane = Plane(caption="", points=[Point("a", 90, 50)], y_label="robust, %")
        >>> rendered(plane, "png")[1:4]
        b'PNG'
    """
    # Matplotlib's log messages are about fonts, which the reader cannot change.
    logging.getLogger("matplotlib").setLevel(logging.CRITICAL)
    try:
        from matplotlib import font_manager, rc_context
        from matplotlib.figure import Figure
        from matplotlib.text import Text

        installed = set(font_manager.get_font_names())
        settings: Any = {
            "font.family": [name for name in FONTS if name in installed],
            "font.size": 9,
            # Text in an SVG stays text, because the viewer has fonts for every script.
            "svg.fonttype": "none",
            "svg.hashsalt": "kmtard",
            "hatch.linewidth": 0.6,
            **dict.fromkeys(
                ("text.color", "axes.labelcolor", "axes.edgecolor", "hatch.color"), INK
            ),
            **dict.fromkeys(("xtick.color", "ytick.color"), INK),
        }
        with rc_context(settings), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            figure = Figure(figsize=drawing.size, layout="constrained")
            drawing.draw(figure)
            # Names come from other people and must not be read as formulas.
            for text in cast("list[Text]", figure.findobj(Text)):
                text.set_parse_math(False)
            content = io.BytesIO()
            figure.savefig(
                content,
                format=kind,
                dpi=RESOLUTION,
                transparent=is_clear,
                metadata={"Date": None} if kind == "svg" else None,
            )
    except (ImportError, OSError, ValueError) as error:
        raise RunError(f"Cannot draw a figure: {error}.") from error
    return content.getvalue()


def _legend(figure: Figure, handles: dict[str, Any]) -> None:
    if len(handles) < 2:
        return
    numbers = [str(number) for number in range(len(handles))]
    legend = figure.legend(
        [*handles.values()],
        numbers,
        loc="outside lower center",
        ncols=2,
        frameon=False,
        fontsize=8,
    )
    # `legend` would read a label as a formula, or hide one that begins with "_".
    for text, name in zip(legend.get_texts(), handles, strict=True):
        text.set_text(_short(name))


def _short(name: str) -> str:
    name = visible(name)
    return name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 1]}…"
