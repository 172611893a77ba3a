"""A comparison of several runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Select, Static

from kmtard.runs import Run
from kmtard.runs.comparison import (
    Compared,
    ComparedReader,
    figures_table,
    folded,
    legend_of,
    metrics_of,
    settings_table,
    single,
)
from kmtard.runs.tables import table_writers
from kmtard.runs.visible import visible
from launcher.bindings import bindings
from launcher.palette import STYLES, SeriesStyle, assign_looks
from launcher.poller import Poller
from launcher.runs.figures import SUFFIXES, write_figure
from launcher.screens.base import LauncherScreen
from launcher.screens.export import ExportScreen, Writer
from launcher.screens.plot_keys import PlotKeys
from launcher.widgets.axes import AXES, XAxis, x_axis_of
from launcher.widgets.key_bar import KeyBar
from launcher.widgets.metric_plot import MetricPlot, PlotSeries
from launcher.widgets.text_table import TextTable

DEFAULT_METRIC = "w_robust_accuracy"


class CompareScreen(PlotKeys, LauncherScreen[None]):
    """Curves, accuracies and settings of several runs.

    Args:
        runs: in the order of the tables.
    """

    PAGE = "compare"
    CSS_PATH = "compare.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("compare"), *bindings("plot")]
    looks: ClassVar[dict[str, int]] = {}
    """Folder of a run -> number of its color and marker, while the app runs."""

    def __init__(self, runs: Sequence[Run]) -> None:
        super().__init__()
        self._readers = {run.path: ComparedReader(run) for run in runs}
        self._runs: list[Compared] = []
        self._metrics: list[str] = []
        self._baseline: Path | None = None
        assign_looks(map(str, self._readers), self.looks, len(STYLES))

    def compose(self) -> ComposeResult:
        """Show the frame only: nothing has been read yet."""
        with Horizontal(id="header"):
            yield Static(id="title")
            yield Select[str](
                [], prompt="metric", id="metric", compact=True, allow_blank=True
            )
        yield MetricPlot(empty="No epochs of this metric yet.")
        yield Static(id="note")
        with Horizontal(id="tables"):
            yield TextTable(id="figures")
            yield TextTable(id="settings")
        yield KeyBar()

    def on_mount(self) -> None:
        """Show the accuracies first, and start reading."""
        self._metric = self.app.settings.get("compare.metric", DEFAULT_METRIC)
        self._is_folded = self.app.settings.get("compare.folded", False)
        axis = self.app.settings.get("plot.axis", AXES[0])
        self._axis = axis if axis in AXES else AXES[0]
        self._logs = set(map(str, self.app.settings.get("compare.log", list[str]())))
        self.query_one("#figures").focus()
        self._show()
        Poller(self, self._reader, self.take)

    def _reader(self) -> Callable[[], list[Compared]]:
        readers = list(self._readers.values())
        return lambda: [reader.read() for reader in readers]

    def take(self, found: list[Compared]) -> None:
        """Show the runs, except those that were removed in the meantime."""
        runs = [run for run in found if run.path in self._readers]
        if runs == self._runs:
            return
        # The time of a running run changes with each look, and is in one table.
        same = list(map(_timeless, runs)) == list(map(_timeless, self._runs))
        self._runs = runs
        if same:
            self._show_figures()
        else:
            self._show()

    def _show(self) -> None:
        """Show what was read."""
        title = f"Compare {len(self._readers)} runs"
        if not self._readers:
            title = "No runs to compare: press a, mark some in the list, then c"
        elif not self._runs:
            title = f"{title}: reading ..."
        elif len(self._readers) == 1:
            title = "Only one run: press a, mark more, then c"
        elif self._baseline:
            title = f"{title} to {visible(self._baseline.name)}"
        self.query_one("#title", Static).update(Text(title))
        self._offer_metrics(metrics_of(self._runs))
        self._show_figures()
        self._tables()[1].show(settings_table(self._runs), self._signs())
        self._plot()

    def _show_figures(self) -> None:
        compared = figures_table(self._runs, self._baseline)
        self._tables()[0].show(compared, self._signs())
        note = self.query_one("#note", Static)
        note.display = bool(compared.notes)
        note.update(Text("\n".join(compared.notes), "dim"))

    def _signs(self) -> dict[str, Text]:
        return {run.summary.name: _sign(self._style(run.path)) for run in self._runs}

    def _tables(self) -> tuple[TextTable, TextTable]:
        found = (self.query_one(name, TextTable) for name in ("#figures", "#settings"))
        figures, settings = found
        return figures, settings

    def _offer_metrics(self, metrics: list[str]) -> None:
        if metrics == self._metrics:
            return
        self._metrics = metrics
        select = self.query_one("#metric", Select)
        with self.prevent(Select.Changed):
            select.set_options((Text(visible(name)), name) for name in metrics)
            if self._metric in metrics:
                select.value = self._metric

    def _style(self, path: Path) -> SeriesStyle:
        return STYLES[self.looks[str(path)]]

    def _series(self, labels: Sequence[str]) -> tuple[list[PlotSeries], XAxis]:
        """Return the curves: of each run, or of each setting if they are folded."""
        if self._is_folded:
            curves = folded(self._runs, self._metric, self._axis, labels)
        else:
            curves = [
                single(run, self._metric, self._axis, label)
                for run, label in zip(self._runs, labels, strict=True)
                if self._metric in run.curves
            ]
        longest = max((curve.x[-1] for curve in curves if curve.x), default=0.0)
        x_axis, unit = x_axis_of(self._axis, longest)
        factor = 100 if self._metric.endswith("_accuracy") else 1
        series = [
            PlotSeries(
                curve.label,
                [x / unit for x in curve.x],
                _scaled(curve.y, factor),
                self._style(curve.path),
                low=_scaled(curve.low, factor),
                high=_scaled(curve.high, factor),
            )
            for curve in curves
            if curve.x
        ]
        return series, x_axis

    @property
    def plot(self) -> MetricPlot:
        """The plot."""
        return self.query_one(MetricPlot)

    def _plot(self) -> None:
        names = [run.summary.name for run in self._runs]
        series, x_axis = self._series(names)
        is_log = self._metric in self._logs
        self.plot.set_series(series, x_axis=x_axis, is_log=is_log)

    def action_x_axis(self) -> None:
        """Show the curves over epochs, steps or time, in turn."""
        self._axis = AXES[(AXES.index(self._axis) + 1) % len(AXES)]
        self.app.settings.set("plot.axis", self._axis)
        self._plot()

    def action_log_axis(self) -> None:
        """Give the metric a logarithmic y axis, or a linear one."""
        self._logs ^= {self._metric}
        self.app.settings.set("compare.log", sorted(self._logs))
        self._plot()

    def action_fold(self) -> None:
        """Draw one curve per setting, with the deviation over its seeds, or per run."""
        self._is_folded = not self._is_folded
        self.app.settings.set("compare.folded", self._is_folded)
        self._plot()

    @on(Select.Changed, "#metric")
    def _choose_metric(self, event: Select.Changed) -> None:
        if isinstance(event.value, str):
            self._metric = event.value
            self.app.settings.set("compare.metric", event.value)
            self._plot()

    def action_metric(self, by: int) -> None:
        """Plot the next metric, or the one before."""
        if self._metrics:
            known = self._metric in self._metrics
            place = self._metrics.index(self._metric) + by if known else 0
            metric = self._metrics[place % len(self._metrics)]
            self.query_one("#metric", Select).value = metric

    def _under_cursor(self) -> Compared | None:
        row = self._tables()[0].cursor_row
        return self._runs[row] if row < len(self._runs) else None

    def action_baseline(self) -> None:
        """Make the selected run the baseline, or have none."""
        if run := self._under_cursor():
            self._baseline = None if run.path == self._baseline else run.path
            self._show()

    def action_turn(self) -> None:
        """Change between accuracies and settings."""
        self.toggle_class("-settings")
        self._tables()[self.has_class("-settings")].focus()

    def action_remove(self) -> None:
        """Take the selected run out of the comparison."""
        if run := self._under_cursor():
            del self._readers[run.path]
            self._runs.remove(run)
            if run.path == self._baseline:
                self._baseline = None
            self._show()

    def action_export(self) -> None:
        """Write the table that is shown, or the plot, to a file."""
        table = self._tables()[self.has_class("-settings")]
        label = f"{self._metric} in %" if self._metric.endswith("_accuracy") else ""
        series, x_axis = self._series(legend_of(self._runs))
        draw = partial(
            write_figure,
            series=series,
            x_axis=x_axis,
            y_label=label or self._metric,
            is_log=self.plot.is_log,
            window=self.plot.view.window,
        )
        writers: dict[str, Writer] = {**table_writers(table.shown)}
        writers |= dict.fromkeys(SUFFIXES, draw)
        self.app.push_screen(ExportScreen("comparison.csv", writers))


def _scaled(values: Sequence[float | None], factor: float) -> tuple[float | None, ...]:
    return tuple(None if value is None else factor * value for value in values)


def _timeless(run: Compared) -> Compared:
    """Return a run without what changes while nothing new is known of it."""
    summary = replace(run.summary, seconds=0.0, seconds_left=None, left="")
    return replace(run, summary=summary)


def _sign(style: SeriesStyle) -> Text:
    return Text(style.marker, f"rgb({','.join(map(str, style.colour))})")
