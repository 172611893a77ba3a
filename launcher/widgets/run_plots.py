"""The plots of a run, as many as fit."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style
from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.widgets import Static

from kmtard.runs.history import History, Phase
from launcher.runs.panels import (
    NOT_MEASURED,
    OTHER,
    PANELS,
    SYSTEM_PANELS,
    Panel,
    can_be_smoothed,
    curves,
    levels,
    marks,
    panels_of,
    placed,
    usage_curves,
)
from launcher.settings import Settings
from launcher.widgets.axes import AXES
from launcher.widgets.metric_plot import MetricPlot
from launcher.widgets.plot_view import PlotView

WIDE = 110  # columns for two plots side by side
HIGH = 11  # smallest number of rows of each of several plots
STRENGTHS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
USUAL = 0.8
SYSTEM = {panel.name for panel in SYSTEM_PANELS}


class RunPlots(Vertical):
    """Plots of one phase of a run.

    Args:
        history: of the run.
        settings: remembers what the user chose.

    Attributes:
        role: name of the phase.
        hidden: metrics, and plots by their `key`, that are hidden.
        current: name of the first plot that is shown.
        is_smooth: whether averages are shown, with the raw values faint below.
        strength: of the averages, 0 to 1.
        axis: what x is: one of `AXES`.
        logs: names of the plots with a logarithmic y axis.
        view: the part of the curves that all plots of a phase show, and their
            crosshair.
        system_view: that of the plots about the machine, which are over all phases.
    """

    ALLOW_MAXIMIZE = True
    DEFAULT_CSS = """
    RunPlots {
        #names {
            height: 1;
            padding: 0 1;
            text-wrap: nowrap;
            text-overflow: ellipsis;
        }
        #plots { height: 1fr; layout: grid; grid-size: 1; }
        MetricPlot { display: none; }
        MetricPlot.-shown { display: block; }
        &.-several MetricPlot {
            border: round $foreground 25%;
            border-title-color: $foreground;
        }
    }
    """

    def __init__(self, history: History, settings: Settings) -> None:
        super().__init__()
        self.history = history
        self._settings = settings
        self.role = "student"
        self.hidden: set[str] = set()
        self.current = PANELS[0].name
        self.is_smooth = False
        self.strength = USUAL
        self.axis = AXES[0]
        self.logs: set[str] = set()
        self.view = self.system_view = PlotView()
        self.panels: list[Panel] = []
        self._order: list[str] = []

    def compose(self) -> ComposeResult:
        """Show the names of the plots above the plots."""
        yield Static(id="names")
        with Container(id="plots"):
            for panel in (*PANELS, Panel(OTHER, "other metrics", {})):
                plot = MetricPlot(digits=panel.digits, empty="No epochs of this yet.")
                plot.id = f"plot-{panel.name}"
                yield plot
            for panel in SYSTEM_PANELS:
                plot = MetricPlot(digits=panel.digits, empty=NOT_MEASURED)
                plot.id = f"plot-{panel.name}"
                yield plot

    def on_mount(self) -> None:
        """Restore what the user chose."""
        settings = self._settings
        self.hidden = set(map(str, settings.get("live.hidden", list[str]())))
        self.current = settings.get("live.plot", self.current)
        self.is_smooth = settings.get("live.smooth", False)
        strength = settings.get("live.strength", USUAL)
        self.strength = strength if strength in STRENGTHS else USUAL
        axis = settings.get("plot.axis", self.axis)
        self.axis = axis if axis in AXES else self.axis
        self.logs = set(map(str, settings.get("live.log", list[str]())))

    def on_resize(self, event: events.Resize) -> None:
        """Show as many plots as fit."""
        del event
        self.show()

    def show(self) -> None:
        """Show the curves."""
        with self.history.lock:
            self._show_panels()

    @property
    def _phase(self) -> Phase | None:
        return self.history.phases.get(self.role)

    def _shown(self) -> list[Panel]:
        """Return the panels that fit, the current one first."""
        self.panels = panels_of(self._phase, self.history.usage)
        there = [panel for panel in self.panels if panel.key not in self.hidden]
        names = [panel.name for panel in there]
        first = names.index(self.current) if self.current in names else 0
        columns = rows = 1
        if not self.has_class("-maximized"):
            columns = 2 if self.size.width >= WIDE else 1
            rows = max(1, (self.size.height - 1) // HIGH)
        self._show_names(there, first)
        grid = self.query_one("#plots")
        grid.styles.grid_size_columns = min(columns, max(1, len(there)))
        turned = there[first:] + there[:first]
        return turned[: columns * rows]

    def _show_panels(self) -> None:
        shown = {panel.name: panel for panel in self._shown()}
        for plot in self.query(MetricPlot):
            name = _name(plot)
            plot.set_class(name in shown, "-shown")
            if name in shown:
                self._fill(plot, shown[name])
        self.set_class(len(shown) > 1, "-several")
        if self._order != list(shown):
            self._order = list(shown)
            grid = self.query_one("#plots")
            for name in reversed(shown):
                grid.move_child(self.query_one(f"#plot-{name}"), before=0)

    def _fill(self, plot: MetricPlot, panel: Panel) -> None:
        is_log = panel.name in self.logs
        if panel.name in SYSTEM:
            plot.border_title = panel.title
            found, x_axis = usage_curves(panel, self.history.usage, self.hidden)
            plot.set_series(found, x_axis=x_axis, is_log=is_log)
            plot.look(self.system_view)
            return
        heights, places = [], []
        if panel.name == PANELS[0].name:
            places = marks(self._phase)
            if self.role == "student":
                heights = levels(self.history, self.hidden)
        strength = self.strength if self.is_smooth else 0.0
        plot.border_title = panel.title
        series = curves(panel, self._phase, self.hidden, strength)
        series, places, x_axis = placed(series, places, self._phase, self.axis)
        plot.set_series(series, heights, places, x_axis=x_axis, is_log=is_log)
        plot.look(self.view)

    @on(MetricPlot.ViewChanged)
    def _share_view(self, event: MetricPlot.ViewChanged) -> None:
        event.stop()
        is_system = _name(event.plot) in SYSTEM
        if is_system:
            self.system_view = event.view
        else:
            self.view = event.view
        for plot in self.query(MetricPlot):
            if (_name(plot) in SYSTEM) == is_system:
                plot.look(event.view)

    @property
    def plot(self) -> MetricPlot:
        """The first plot that is shown."""
        names = [*self._order, PANELS[0].name]
        return self.query_one(f"#plot-{names[0]}", MetricPlot)

    def reset_view(self) -> None:
        """Show all of the curves, and no crosshair."""
        self.view = PlotView()

    def turn_axis(self) -> None:
        """Show the curves over epochs, steps or time, in turn."""
        self.axis = AXES[(AXES.index(self.axis) + 1) % len(AXES)]
        self._settings.set("plot.axis", self.axis)
        self.reset_view()
        self.show()

    def turn_log(self) -> None:
        """Give the first plot a logarithmic y axis, or a linear one."""
        self.logs ^= {self._order[0]} if self._order else set()
        self._settings.set("live.log", sorted(self.logs))
        self.show()

    def _show_names(self, panels: list[Panel], first: int) -> None:
        text = Text()
        room = self.query_one("#names").content_size.width
        skipped = _skipped([panel.name for panel in panels], first, room)
        if skipped:
            text.append("… ", "dim")
        for number, panel in enumerate(panels[skipped:], skipped):
            click = Style(meta={"@click": f"screen.plot_named('{panel.name}')"})
            text.append("  " if number > skipped else "")
            text.append(
                panel.name,
                click + Style(bold=True, underline=True)
                if number == first
                else click + Style(dim=True),
            )
        shown = panels[first].metrics if panels else {}
        if self.is_smooth and any(map(can_be_smoothed, shown)):
            text.append(f"  smoothed {self.strength}", "dim italic")
        self.query_one("#names", Static).update(text)

    def step(self, by: int) -> None:
        """Show the next plot, or the one before."""
        names = [panel.name for panel in self.panels if panel.key not in self.hidden]
        if names:
            place = names.index(self.current) if self.current in names else 0
            self.go_to(names[(place + by) % len(names)])

    def go_to(self, name: str) -> None:
        """Show a plot by its name."""
        self.current = name
        self._settings.set("live.plot", name)
        self.show()

    def hide(self, hidden: set[str]) -> None:
        """Hide these metrics and plots, and show all others."""
        self.hidden = hidden
        self._settings.set("live.hidden", sorted(hidden))
        self.show()

    def smooth(self, is_smooth: bool, by: int = 0) -> None:
        """Show averages or not, over more or fewer epochs."""
        place = STRENGTHS.index(self.strength) + by
        self.is_smooth = is_smooth
        self.strength = STRENGTHS[min(max(place, 0), len(STRENGTHS) - 1)]
        self._settings.set("live.smooth", is_smooth)
        self._settings.set("live.strength", self.strength)
        self.show()


def _name(plot: MetricPlot) -> str:
    return (plot.id or "").removeprefix("plot-")


def _skipped(names: Sequence[str], first: int, room: int) -> int:
    """Return how many names are left out at the start, so that one of them is seen.

    Args:
        names: of the plots, in one row with two cells between.
        first: place of the name that must be seen.
        room: number of cells.
    """
    skipped = 0
    while skipped < first:
        width = sum(len(name) + 2 for name in names[skipped : first + 1])
        if width + 2 * bool(skipped) <= room + 2:
            break
        skipped += 1
    return skipped
