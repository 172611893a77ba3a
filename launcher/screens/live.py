"""One run as it changes: its progress, accuracies, curves and log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType

from kmtard.runs import Run
from kmtard.runs.log_file import last_lines
from kmtard.runs.summary import DAMAGED, Summary, SummaryReader
from launcher.bindings import bindings
from launcher.poller import Poller
from launcher.screens.curves import CurvesScreen, curve_labels
from launcher.screens.plot_keys import PlotKeys
from launcher.screens.run_actions import RunActions
from launcher.widgets.key_bar import KeyBar
from launcher.widgets.log_pane import LogPane
from launcher.widgets.metric_plot import MetricPlot
from launcher.widgets.run_header import RunBanner, RunHeader
from launcher.widgets.run_numbers import RunNumbers
from launcher.widgets.run_plots import RunPlots

PAUSE = 0.5  # seconds between two readings
SOON = 0.1  # seconds between two updates of the progress of a long reading
LOW = 22  # rows
LAST_LINES = 3  # of the log, for a run that failed


Reading = tuple[Summary, tuple[str, ...], int]
"""The summary, the end of the log of a failed run, and `History.changes`."""


class LiveScreen(PlotKeys, RunActions):
    """One run.

    Args:
        path: its folder, which may be damaged or missing.
    """

    PAGE = "live"
    CSS_PATH = "live.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("live"),
        *bindings("run"),
        *bindings("plot"),
    ]

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.run = Run(path)
        self._reader = SummaryReader(self.run, in_detail=True)
        self.history = self._reader.history
        self.summary = Summary(self.run, state="")
        self._tail: Sequence[str] = ()
        self._told: tuple[object, ...] = ()
        self.role: str | None = None

    @on(RunActions.Moved)
    def _follow_the_run(self, event: RunActions.Moved) -> None:
        if event.new is None:
            self.dismiss()
        else:
            self.app.switch_screen(LiveScreen(event.new))

    def compose(self) -> ComposeResult:
        """Show the frame only: nothing has been read yet."""
        yield RunHeader(id="header")
        yield RunBanner(id="banner")
        yield RunNumbers(id="numbers")
        yield RunPlots(self.history, self.app.settings)
        yield LogPane(self.run.log_path, self.app.settings)
        yield KeyBar()

    def on_mount(self) -> None:
        """Restore the panes, and start reading."""
        self.query_one(RunBanner).display = False
        for pane in ("log", "numbers", "plots"):
            shown = self.app.settings.get(f"live.{pane}", True)
            self.set_class(not shown, f"-no-{pane}")
        self.query_one(LogPane).text.focus()
        self.query_one(RunHeader).show_reading(self.run.name, 0)
        self._teller = self.set_interval(SOON, self._tell_reading, pause=True)
        Poller(self, self._read, self._take, pause=PAUSE)

    def on_resize(self, event: events.Resize) -> None:
        """Hide the numbers where the plot, which has them too, needs the room."""
        self.set_class(event.size.height < LOW, "-low")

    def selected_run(self) -> Run | None:
        """Return the run, or None while it is unread or damaged."""
        return None if self.summary.state in ("", DAMAGED) else self.run

    def _read(self) -> Callable[[], Reading]:
        self._teller.resume()
        return self._read_files

    def _read_files(self) -> Reading:
        summary = self._reader.read()
        has_failed = summary.state in ("failed", "crashed")
        log = last_lines(self.run.log_path, LAST_LINES) if has_failed else ()
        return summary, tuple(log), self.history.changes

    def _tell_reading(self) -> None:
        if self.history.reading < 1:
            header = self.query_one(RunHeader)
            header.show_reading(self.run.name, self.history.reading)

    def _take(self, found: Reading) -> None:
        self._teller.pause()
        self.summary, self._tail, changes = found
        # The clock of a running run is no reason to draw again.
        told = (changes, self._tail, replace(self.summary, seconds=0))
        if told != self._told:
            self._told = told
            self.show()
            self.read_state()

    def show(self) -> None:
        """Show what is known."""
        with self.history.lock:
            self.query_one(RunHeader).show(self.summary, self.history)
            self.query_one(RunBanner).show(self.summary, self.history, self._tail)
            role = self.shown_role
            self.query_one(RunNumbers).show(self.history, role)
        plots = self.query_one(RunPlots)
        plots.role = role
        plots.show()

    @property
    def shown_role(self) -> str:
        """The phase whose curves are shown: the chosen one, or the last training."""
        phases = self.history.phases
        if self.role is not None and self.role in phases:
            return self.role
        return next(reversed(phases), "student")

    def action_plot(self, by: int) -> None:
        """Show the next plot, or the one before."""
        self.query_one(RunPlots).step(by)

    def action_plot_named(self, name: str) -> None:
        """Show a plot."""
        self.query_one(RunPlots).go_to(name)

    def action_curves(self) -> None:
        """Show or hide plots and curves."""
        plots = self.query_one(RunPlots)
        labels = curve_labels(plots.panels)
        screen = CurvesScreen(labels, plots.hidden, plots.hide)
        self.app.push_screen(screen)

    def action_smooth(self) -> None:
        """Show averages over epochs, or the raw values only."""
        plots = self.query_one(RunPlots)
        plots.smooth(not plots.is_smooth)

    def action_strengthen(self, by: int) -> None:
        """Average over more epochs, or fewer."""
        self.query_one(RunPlots).smooth(True, by)

    def action_phase(self) -> None:
        """Show the curves of the next phase."""
        roles = list(self.history.phases)
        if roles:
            place = roles.index(self.shown_role)
            self.role = roles[(place + 1) % len(roles)]
            self.query_one(RunPlots).reset_view()
            self.show()

    @property
    def plot(self) -> MetricPlot:
        """The first plot; all plots share its view."""
        return self.query_one(RunPlots).plot

    def action_x_axis(self) -> None:
        """Show the curves over epochs, steps or time, in turn."""
        self.query_one(RunPlots).turn_axis()

    def action_log_axis(self) -> None:
        """Give the first plot a logarithmic y axis, or a linear one."""
        self.query_one(RunPlots).turn_log()

    def action_pane(self, name: str) -> None:
        """Show or hide a pane."""
        self.toggle_class(f"-no-{name}")
        self.app.settings.set(f"live.{name}", not self.has_class(f"-no-{name}"))

    def action_zoom(self, name: str) -> None:
        """Give one pane the whole screen, or take it back."""
        if self.maximized is None:
            pane = LogPane if name == "log" else RunPlots
            self.maximize(self.query_one(pane))
        else:
            self.minimize()
