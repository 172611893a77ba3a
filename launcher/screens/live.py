"""One run as it goes on: its progress, accuracies, curves and log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message

from kmtard.runs import Run
from kmtard.runs.log_file import last_lines
from kmtard.runs.summary import DAMAGED, Summary, SummaryReader
from launcher.screens.curves import CurvesScreen
from launcher.screens.run_actions import RUN_BINDINGS, RunActions
from launcher.widgets.key_bar import KeyBar
from launcher.widgets.log_pane import LogPane
from launcher.widgets.run_header import RunBanner, RunHeader
from launcher.widgets.run_numbers import RunNumbers
from launcher.widgets.run_plots import RunPlots

PAUSE = 0.5  # seconds between two looks at the files
SOON = 0.1  # seconds after which a reading that takes long shows how far it is
LOW = 22  # rows
LAST_LINES = 3  # of the log, where the run ended badly


class LiveScreen(RunActions):
    """One run, watched: nothing here changes it but the actions on runs.

    Args:
        path: its folder, which may be damaged or gone.
    """

    HELP = """
# A run

Watched as it goes on, or as it went: phase, progress, accuracies in %, curves and log.
The run does not need this screen: leave it with **Escape** at any time.

- **t** and **T** go through the plots, **v** switches plots and curves on and off.
- **m** shows averages over the epochs, the raw values faint below; **+** and **-** make
  them stronger or weaker.
- **p** shows the student's or a teacher's own training. Dashed lines are the teachers'
  best epochs, the upright one is the best epoch of the training that is shown.
- **l**, **b** and **o** switch log, numbers and plots on and off, **z** gives all the
  room to the plot, **Z** to the log; Escape takes it back.
- In the log: **f** keeps its end in sight (going up ends that), **w** breaks long
  lines, **/** searches, **n** and **N** go from hit to hit, **g** reads earlier lines.
"""
    CSS_PATH = "live.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", id="live.back"),
        Binding("t", "plot(1)", "Plot", id="live.plot", tooltip="Show the next plot"),
        Binding(
            "T",
            "plot(-1)",
            "Plot before",
            id="live.plot_before",
            show=False,
            tooltip="Show the plot before",
        ),
        Binding(
            "v",
            "curves",
            "Curves",
            id="live.curves",
            tooltip="Switch plots and curves on and off",
        ),
        Binding(
            "m",
            "smooth",
            "Smooth",
            id="live.smooth",
            tooltip="Averages over epochs, raw values faint below",
        ),
        Binding(
            "plus",
            "strengthen(1)",
            "Smoother",
            id="live.smoother",
            show=False,
            tooltip="Average over more epochs",
        ),
        Binding(
            "minus",
            "strengthen(-1)",
            "Rougher",
            id="live.rougher",
            show=False,
            tooltip="Average over fewer epochs",
        ),
        Binding(
            "p",
            "phase",
            "Phase",
            id="live.phase",
            tooltip="Curves of the student or of a teacher",
        ),
        Binding(
            "l", "pane('log')", "Log", id="live.log", show=False, tooltip="On or off"
        ),
        Binding(
            "b",
            "pane('numbers')",
            "Numbers",
            id="live.numbers",
            show=False,
            tooltip="On or off",
        ),
        Binding(
            "o",
            "pane('plots')",
            "Plots",
            id="live.plots",
            show=False,
            tooltip="On or off",
        ),
        Binding(
            "z",
            "zoom('plot')",
            "Zoom",
            id="live.zoom",
            show=False,
            tooltip="All the room for the plot",
        ),
        Binding(
            "Z",
            "zoom('log')",
            "Zoom the log",
            id="live.zoom_log",
            show=False,
            tooltip="All the room for the log",
        ),
        *RUN_BINDINGS,
    ]

    @dataclass
    class Polled(Message):
        """The files were looked at."""

        summary: Summary
        log: tuple[str, ...]
        changes: int

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.run = Run(path)
        self._reader = SummaryReader(self.run, in_detail=True)
        self.history = self._reader.history
        self.summary = Summary(self.run, state="")
        self._tail: Sequence[str] = ()
        self._told: tuple[object, ...] = ()
        self.role: str | None = None
        self._is_polling = False

    @on(RunActions.Moved)
    def _follow_the_run(self, event: RunActions.Moved) -> None:
        if event.new is None:
            self.dismiss()
        else:
            self.app.switch_screen(LiveScreen(event.new))

    def compose(self) -> ComposeResult:
        """Show the frame alone: nothing has been read yet."""
        yield RunHeader(id="header")
        yield RunBanner(id="banner")
        yield RunNumbers(id="numbers")
        yield RunPlots(self.history)
        yield LogPane(self.run.log_path)
        yield KeyBar()

    def on_mount(self) -> None:
        """Recall the panes, and look at the files now and then."""
        self.query_one(RunBanner).display = False
        for pane in ("log", "numbers", "plots"):
            shown = self.launcher.settings.get(f"live.{pane}", True)
            self.set_class(not shown, f"-no-{pane}")
        self.query_one(LogPane).text.focus()
        self.query_one(RunHeader).show_reading(self.run.name, 0)
        self._teller = self.set_interval(SOON, self._tell_reading, pause=True)
        self._timer = self.set_interval(PAUSE, self.poll)
        self.poll()

    def on_screen_suspend(self) -> None:
        """Let the files alone while nobody sees them."""
        self._timer.pause()
        self.query_one(LogPane).timer.pause()

    def on_screen_resume(self) -> None:
        """Look at the files again."""
        self._timer.resume()
        self.query_one(LogPane).timer.resume()
        self.poll()

    def on_resize(self, event: events.Resize) -> None:
        """Do without the numbers, which the plot tells too, where both have no room."""
        self.set_class(event.size.height < LOW, "-low")

    def selected_run(self) -> Run | None:
        """Return the run that the actions are for; none where its files are none."""
        return None if self.summary.state in ("", DAMAGED) else self.run

    def poll(self) -> None:
        """Look at the files, unless a look goes on or nobody sees it."""
        if not self._is_polling and self.is_current:
            self._is_polling = True
            self._teller.resume()
            self._read()

    @work(thread=True, group="history")
    def _read(self) -> None:
        summary = self._reader.read()
        ended_badly = summary.state in ("failed", "crashed")
        log = last_lines(self.run.log_path, LAST_LINES) if ended_badly else ()
        self.post_message(self.Polled(summary, tuple(log), self.history.changes))

    def _tell_reading(self) -> None:
        if self.history.reading < 1:
            header = self.query_one(RunHeader)
            header.show_reading(self.run.name, self.history.reading)

    @on(Polled)
    def _take(self, message: Polled) -> None:
        self._is_polling = False
        self._teller.pause()
        self.summary, self._tail = message.summary, message.log
        # The clock of a running run alone is no reason to draw again.
        told = (message.changes, message.log, replace(message.summary, seconds=0))
        if told != self._told:
            self._told = told
            self.show()

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
        """The phase whose curves are shown: as chosen, or else the last training."""
        phases = self.history.phases
        if self.role is not None and self.role in phases:
            return self.role
        return next(reversed(phases), "student")

    def action_back(self) -> None:
        """Leave the run alone."""
        self.app.pop_screen()

    def action_plot(self, by: int) -> None:
        """Show the next plot, or the one before."""
        self.query_one(RunPlots).step(by)

    def action_plot_named(self, name: str) -> None:
        """Show a plot."""
        self.query_one(RunPlots).go_to(name)

    def action_curves(self) -> None:
        """Switch plots and curves on and off."""
        plots = self.query_one(RunPlots)
        screen = CurvesScreen(plots.panels, plots.hidden, plots.hide)
        self.app.push_screen(screen)

    def action_smooth(self) -> None:
        """Show averages, or raw values alone."""
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
            self.show()

    def action_pane(self, name: str) -> None:
        """Switch a pane on or off."""
        self.toggle_class(f"-no-{name}")
        self.launcher.settings.set(f"live.{name}", not self.has_class(f"-no-{name}"))

    def action_zoom(self, name: str) -> None:
        """Give all the room to one pane, or take it back."""
        if self.maximized is None:
            pane = LogPane if name == "log" else RunPlots
            self.maximize(self.query_one(pane))
        else:
            self.minimize()
