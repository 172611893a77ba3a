"""How robust the student of an evaluated run is: images, classes and epsilon."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Select, Static, TabbedContent, TabPane

from kmtard.registry import label
from kmtard.runs import Run
from kmtard.runs.formats import counted, radius_text
from kmtard.runs.queue.task import Task
from kmtard.runs.radii import evaluate_command, record_radius, smaller_radii
from kmtard.runs.result_tables import classes_table, confusion_table
from kmtard.runs.results import Results, read_all
from kmtard.runs.tables import Table, table_writers
from kmtard.runs.visible import visible
from launcher.bindings import bindings
from launcher.closing import while_open
from launcher.poller import Poller
from launcher.runs.run_rules import check_evaluable
from launcher.screens.export import ExportScreen
from launcher.screens.plot_keys import KEYS_OF_VIEW, PlotKeys
from launcher.screens.run_actions import RunActions
from launcher.widgets.attacked_images import AttackedImages, turn
from launcher.widgets.choice import Choice
from launcher.widgets.class_bars import ClassBars
from launcher.widgets.confusion_grid import ConfusionGrid
from launcher.widgets.key_bar import KeyBar
from launcher.widgets.metric_plot import MetricPlot
from launcher.widgets.radius_view import RadiusView

VIEWS = {
    "images": "Images",
    "classes": "Classes",
    "confusion": "Confusion",
    "epsilon": "Epsilon",
}
ONLY = {
    "step": "images",
    "class": "images",
    "class_before": "images",
    "broken": "images",
    "sort": "classes",
    **dict.fromkeys(("cross", "zoom_plot", "pan", "whole"), "epsilon"),
    "measure": "epsilon",
}
"""Action -> the only view that has it."""

Content = tuple[list[Results], list[str]]
"""The records of the run, and why the others cannot be read."""


class RobustnessScreen(PlotKeys, RunActions):
    """The student of a run under attack.

    Args:
        run: its folder.
    """

    PAGE = "robustness"
    CSS_PATH = "robustness.tcss"
    # The first widget is a dropdown, which would take the letters that are keys.
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("robustness"),
        *bindings("run", "evaluate", "report"),
        *bindings("plot", *KEYS_OF_VIEW),
    ]

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run
        self._content: Content | None = None
        self._records: list[Results] = []
        self._attack = ""
        self._worst_first = False

    def compose(self) -> ComposeResult:
        """Show the frame only: nothing has been read yet."""
        with Horizontal(id="header"):
            yield Static(id="title")
            yield Choice([], id="record", prompt="evaluation")
            yield Choice([], id="attack", prompt="attack")
        yield Static("Reading ...", id="empty")
        with TabbedContent(initial="images"):
            with TabPane(VIEWS["images"], id="images"):
                yield AttackedImages(self._run.path)
            with TabPane(VIEWS["classes"], id="classes"):
                with VerticalScroll():
                    yield ClassBars()
            with TabPane(VIEWS["confusion"], id="confusion"):
                yield ConfusionGrid()
            with TabPane(VIEWS["epsilon"], id="epsilon"):
                yield RadiusView(self._run.path)
        yield KeyBar()

    def on_mount(self) -> None:
        """Show the name of the run, and start reading."""
        title = f"Robustness  {visible(self._run.name)}"
        self.query_one("#title", Static).update(Text(title))
        self.query_one("#record").display = False
        self.query_one(TabbedContent).display = False
        # An evaluation may be writing a record.
        Poller(self, lambda: partial(read_all, self._run.path), self.take)

    def selected_run(self) -> Run:
        """Return the run that the actions are for."""
        return self._run

    @property
    def plot(self) -> MetricPlot:
        """The curves over epsilon."""
        return self.query_one(MetricPlot)

    @property
    def view(self) -> str:
        """The view that is shown."""
        return self.query_one(TabbedContent).active

    @property
    def record(self) -> Results | None:
        """The record that is shown; None if none has an outcome per image."""
        value = self.query_one("#record", Choice).value
        number = int(value) if isinstance(value, str) else 0
        return self._records[number] if number < len(self._records) else None

    def take(self, found: Content) -> None:
        """Show the records if they have changed."""
        if found == self._content:
            return
        self._content = found
        records, problems = found
        self._records = [each for each in records if _has_outcomes(each)]
        self.query_one(TabbedContent).display = bool(self._records)
        empty = self.query_one("#empty", Static)
        empty.display = not self._records
        empty.update(Text("\n".join(map(visible, self._empty(records, problems)))))
        self._offer_records()
        self._show()
        if self._records and self.focused is None:
            self._focus_view()

    def _empty(self, records: Sequence[Results], problems: Sequence[str]) -> list[str]:
        command = evaluate_command(self._run.path, None)
        if problems:
            return [*problems, "", f"Press e to evaluate again, or: {command}"]
        if records:
            why = "The evaluation of this run has no outcome per image."
            return [why, "", f"Press e to evaluate again, or: {command}"]
        return ["Not evaluated yet.", "", f"Press e to evaluate, or: {command}"]

    def _offer_records(self) -> None:
        select = self.query_one("#record", Choice)
        before = select.value
        options = [
            (Text(visible(_about(each))), str(i))
            for i, each in enumerate(self._records)
        ]
        with self.prevent(Select.Changed):
            select.set_options(options)
            if options:
                known = before in {value for _, value in options}
                select.value = str(before) if known else "0"
        select.display = len(options) > 1

    @on(Select.Changed, "#record")
    def _show(self) -> None:
        """Show the record, under the same attack if it has it."""
        record, select = self.record, self.query_one("#attack", Choice)
        attacks = list(record.student.attacks) if record else []
        if self._attack not in attacks:
            headline = record.student.headline if record else None
            self._attack = headline or (attacks[0] if attacks else "")
        with self.prevent(Select.Changed):
            select.set_options((Text(visible(label(name))), name) for name in attacks)
            if attacks:
                select.value = self._attack
        self._show_attack()

    @on(Select.Changed, "#attack")
    def _choose_attack(self, event: Select.Changed) -> None:
        if isinstance(event.value, str):
            self._attack = event.value
            self._show_attack()

    def _show_attack(self) -> None:
        record, attack = self.record, self._attack
        self.query_one(AttackedImages).show(record, attack)
        bars, grid = self.query_one(ClassBars), self.query_one(ConfusionGrid)
        bars.show(record, attack, worst_first=self._worst_first)
        grid.show(record, attack)
        self.query_one(RadiusView).show(self._records)
        self.refresh_bindings()

    @on(TabbedContent.TabActivated)
    def _enter_view(self) -> None:
        self.refresh_bindings()

    @on(Select.Changed)
    def _leave_choice(self, event: Select.Changed) -> None:
        """Give the keys back to the view once something is chosen."""
        if not (isinstance(event.select, Choice) and event.select.is_typed):
            self._focus_view()

    @while_open
    def _focus_view(self) -> None:
        pane = self.query_one(TabbedContent).active_pane
        nodes = pane.query("*").results() if pane else ()
        for node in nodes:
            if node.focusable and node.display:
                node.focus()
                return

    def unavailable(self, action: str) -> str:
        """Return why an action has no meaning in this view."""
        view, only = self.view, ONLY.get(action)
        if only and only != view:
            return f"only in the view {VIEWS[only]}"
        if action in ("attack", "attack_before") and view == "epsilon":
            return "this view shows every attack"
        if action == "export" and not self._table().rows:
            return "this view has no table"
        if action == "copy" and not self._command():
            return "no command is shown"
        if action == "measure" and not self.query_one(RadiusView).radii:
            return "the curve was measured"
        if action == "other" and len(self._records) < 2:
            return "the run has no other evaluation"
        return super().unavailable(action)

    def _table(self) -> Table:
        record, view = self.record, self.view
        if record is not None and view == "classes":
            return classes_table(record, record.student)
        if record is not None and view == "confusion":
            return confusion_table(record, record.student, self._attack)
        if view == "epsilon":
            return self.query_one(RadiusView).table
        return Table((), ())

    def _command(self) -> str:
        if not self._records:
            return evaluate_command(self._run.path, None)
        if self.view == "images":
            return self.query_one(AttackedImages).command
        return self.query_one(RadiusView).command if self.view == "epsilon" else ""

    def action_next_view(self) -> None:
        """Show the next view."""
        names = list(VIEWS)
        following = names.index(self.view) + 1
        # A view is shown again when a widget in it has the focus.
        self.set_focus(None)
        self.query_one(TabbedContent).active = names[following % len(names)]
        self.call_after_refresh(self._focus_view)

    def action_attack(self, by: int) -> None:
        """Show the next attack, or the one before."""
        turn(self.query_one("#attack", Choice), by)

    def action_other(self) -> None:
        """Show the next evaluation of the run."""
        turn(self.query_one("#record", Choice), 1)

    def action_step(self, by: int) -> None:
        """Show the next image, or the one before."""
        self.query_one(AttackedImages).step(by)

    def action_class(self, by: int) -> None:
        """Show the images of the next class, or of the one before."""
        self.query_one(AttackedImages).turn_class(by)

    def action_broken(self) -> None:
        """Show only the images that the attack broke, or all."""
        self.query_one(AttackedImages).turn_broken()

    def action_sort(self) -> None:
        """Sort the classes by their label, or the worst one first."""
        self._worst_first = not self._worst_first
        self._show_attack()

    def action_export(self) -> None:
        """Write the table of the view to a file."""
        name = f"{self._run.name}-{self.view}.csv"
        self.app.push_screen(ExportScreen(name, table_writers(self._table())))

    @work
    async def action_measure(self) -> None:
        """Queue the evaluation that measures robust accuracy over epsilon."""
        radii = self.query_one(RadiusView).radii
        with self.reported():
            await asyncio.to_thread(check_evaluable, self._run)
            task = Task.evaluate(self._run.path, epsilons=radii)
            title = f"evaluate {self._run.name} over epsilon"
            await self._enqueue(task, title, self._run)

    def action_copy(self) -> None:
        """Copy the command line that is shown."""
        self.app.copy_to_clipboard(self._command())
        self.tell("Copied the command line.")


def _has_outcomes(record: Results) -> bool:
    images = len(record.labels)
    scores = record.student.clean, *record.student.attacks.values()
    return bool(images) and all(len(each.robust) == images for each in scores)


def _about(record: Results) -> str:
    radius = radius_text(record_radius(record))
    # Another record can have the same radius, without the smaller ones before it.
    curve = " curve" if smaller_radii(record) else ""
    parts = [f"epsilon {radius}{curve}" if radius else ""]
    parts.append(counted(record.images or 0, "image"))
    return ", ".join(filter(None, parts))
