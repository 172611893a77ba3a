"""The dialog for a study: methods × seeds, and what they would take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Select, SelectionList, Static, Switch
from textual.widgets.selection_list import Selection

from kmtard.registry import RegistryError, label, summary
from kmtard.runs.study_task import StudyTask
from kmtard.runs.visible import visible, visible_lines
from launcher.bindings import bindings
from launcher.closing import while_open
from launcher.commands import command_text, plan_command
from launcher.recipes.dry_run import DryRun
from launcher.recipes.sweep import OWN, Plan, Sweep, read_plan
from launcher.screens.base import Dialog
from launcher.widgets.choice import Choice
from launcher.widgets.key_bar import KeyBar
from launcher.widgets.on_off import OnOff
from launcher.widgets.ticks import Ticks

PLAN_AFTER = 0.3  # seconds after the last change
PAUSE = 0.2  # seconds between two looks at the plan
WIDE = 500  # columns of its output, which is not broken into lines

Value = TypeVar("Value", str, int)


@dataclass(frozen=True)
class Wanted:
    """A study to start.

    Attributes:
        task: what to do.
        name: of its folder.
    """

    task: StudyTask
    name: str


class SweepScreen(Dialog[Wanted | None]):
    """Asks for methods and seeds, and tells what they would take before the start.

    Args:
        title: name of the recipe.
        sweep: what is chosen at first.
        recipe_methods: methods that the recipe has a table for.
    """

    PAGE = "sweep"
    CSS_PATH = "sweep.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("sweep")

    def __init__(
        self, title: str, sweep: Sweep, recipe_methods: tuple[str, ...]
    ) -> None:
        super().__init__()
        self._heading = title
        self._sweep = sweep
        self._recipe_methods = recipe_methods
        self._plan = Plan()
        self._process: DryRun | None = None
        self._is_measured = False
        self._pause: Timer | None = None

    @property
    def plan(self) -> Plan:
        """What the choice would take, as far as it is known."""
        return self._plan

    def compose(self) -> ComposeResult:
        """Show the choices; what they take follows."""
        sweep = self._sweep
        with Vertical(id="sweep"):
            with Horizontal(id="choices"):
                yield Static("Study", classes="label", id="of-study")
                names = [(self._study_name(name), name) for name in sweep.studies]
                yield Choice(names, allow_blank=False, value=OWN, id="study")
                yield Static("Smoke", classes="label")
                yield OnOff(sweep.smoke, id="smoke")
                yield Static("SLURM", classes="label")
                yield OnOff(sweep.slurm, id="slurm")
            yield Static(id="about")
            with Horizontal(id="lists"):
                yield Ticks[str](id="methods")
                yield Ticks[int](id="seeds")
            with VerticalScroll(id="plan", can_focus=False):
                yield Static(id="needs")
            yield Static(id="command")
        yield KeyBar()

    def on_mount(self) -> None:
        """Tick what the study has, and begin to plan."""
        self.query_one("#sweep").border_title = f"Study of {visible(self._heading)}"
        self.query_one("#methods").border_title = "Methods"
        self.query_one("#seeds").border_title = "Seeds"
        self._fill()
        self.query_one("#methods").focus()
        self.set_interval(PAUSE, self._look)
        self._change(self._sweep)
        self._begin()

    def on_unmount(self) -> None:
        """End the planning, which nobody reads any more."""
        self._end()

    def _study_name(self, name: str) -> Content:
        if name:
            return Content(name)
        own = self._sweep.studies[OWN]
        is_empty = not (own.methods or own.seeds or own.axes or own.cells)
        return Content("methods × seeds" if is_empty else "[study] of the recipe")

    def _fill(self) -> None:
        """Show the methods and the seeds, those of the study ticked and first."""
        sweep = self._sweep
        methods = sweep.ticked or sweep.own_methods(self._recipe_methods)
        seeds = sweep.seeds or sweep.own_seeds
        with self.prevent(SelectionList.SelectedChanged):
            list_of_methods = self.query_one("#methods", SelectionList)
            list_of_methods.clear_options()
            names = dict.fromkeys([*methods, *sweep.methods])
            list_of_methods.add_options(
                Selection(_method(name), name, name in methods) for name in names
            )
            list_of_seeds = self.query_one("#seeds", SelectionList)
            list_of_seeds.clear_options()
            list_of_seeds.add_options(
                Selection(str(seed), seed, seed in seeds)
                for seed in sweep.offered_seeds
            )
            for each in (list_of_methods, list_of_seeds):
                each.highlighted = 0

    @on(Select.Changed, "#study")
    def _choose_study(self, event: Select.Changed) -> None:
        if event.value != self._sweep.name and event.value == event.select.value:
            self._sweep = replace(
                self._sweep, name=str(event.value), ticked=None, seeds=None
            )
            self._fill()
            self._change(self._sweep)

    @on(SelectionList.SelectedChanged)
    def _tick(self) -> None:
        of_methods: SelectionList[str] = self.query_one("#methods", SelectionList)
        of_seeds: SelectionList[int] = self.query_one("#seeds", SelectionList)
        methods, seeds = _ticked(of_methods), _ticked(of_seeds)
        own = self._sweep.own_methods(self._recipe_methods)
        own_seeds = self._sweep.own_seeds
        self._change(
            replace(
                self._sweep,
                ticked=None if set(methods) == set(own) else methods,
                seeds=None if set(seeds) == set(own_seeds) else seeds,
            )
        )

    @on(Switch.Changed)
    def _switch(self) -> None:
        smoke = self.query_one("#smoke", Switch).value
        slurm = self.query_one("#slurm", Switch).value
        self._change(replace(self._sweep, smoke=smoke, slurm=slurm))

    def _change(self, sweep: Sweep) -> None:
        """Show the command of what is chosen, and plan it after a while."""
        self._sweep = sweep
        self._end()
        self._plan, self._is_measured = Plan(), False
        text = visible(command_text(sweep.chosen().command()))
        self.query_one("#command", Static).update(Text(text))
        about = self.query_one("#about", Static)
        about.update(Text(visible(sweep.about())))
        about.display = bool(sweep.about())
        self._show()
        if self._pause is not None:
            self._pause.stop()
        self._pause = self.set_timer(PLAN_AFTER, self._begin)

    @while_open
    def _begin(self) -> None:
        """Start to plan what is chosen."""
        if self._pause is not None:
            self._pause.stop()
        self._end()
        if self._sweep.problem():
            return
        command = plan_command(self._sweep.chosen(), measure=self._is_measured)
        try:
            self._process = DryRun(command, backend="", columns=WIDE)
        except OSError as error:
            self._plan = Plan(problem=f"Cannot start the plan: {error.strerror}.")
        self._show()

    def _end(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None

    @while_open
    def _look(self) -> None:
        """Show what the plan says so far."""
        process = self._process
        if process is None:
            return
        code = process.exit_code
        found = read_plan(list(process.lines), code)
        if code is not None:
            self._process = None
        if found != self._plan or code is not None:
            self._plan = found
            self._show()

    def _show(self) -> None:
        plan, problem = self._plan, self._sweep.problem()
        lines = [Text(plan.count or "Counting the runs ...", "bold")]
        if plan.needs:
            lines += [Text(visible(line)) for line in plan.needs]
        elif self._is_measured:
            lines.append(Text("Trying each training, which takes minutes ...", "dim"))
        elif plan.runs is not None:
            lines.append(Text("Disk and time: building the networks ...", "dim"))
        if wrong := problem or plan.problem:
            lines = [Text(visible_lines(wrong))]
        needs = self.query_one("#needs", Static)
        needs.set_class(bool(wrong), "-wrong")
        needs.update(Text("\n").join(lines))

    def unavailable(self, action: str) -> str:
        """Return why nothing can be measured."""
        return self._sweep.problem() if action == "measure" else ""

    def action_start(self) -> None:
        """Accept what is chosen, as soon as its runs are counted."""
        problem = self._sweep.problem() or self._plan.problem
        if problem:
            self.app.bell()
        elif not self._plan.name:
            self.tell("The runs are still being counted.")
        else:
            self.dismiss(Wanted(self._sweep.chosen(), self._plan.name))

    def action_smoke(self) -> None:
        """Choose smoke runs, or whole ones."""
        self.query_one("#smoke", Switch).toggle()

    def action_measure(self) -> None:
        """Try each training, for its time."""
        self._is_measured, self._plan = True, replace(self._plan, needs=())
        self._begin()

    def action_copy(self) -> None:
        """Copy the command line to the clipboard."""
        text = command_text(self._sweep.chosen().command())
        self.app.copy_to_clipboard(text)
        self.tell("Copied the command line.")


def _ticked(choices: SelectionList[Value]) -> tuple[Value, ...]:
    """Return what is ticked, in the order of the list."""
    chosen = choices.selected
    values = (
        choices.get_option_at_index(index).value
        for index in range(choices.option_count)
    )
    return tuple(value for value in values if value in chosen)


def _method(name: str) -> Content:
    """Return the name of a method and what it is."""
    try:
        about = summary("methods", name)
    except RegistryError:
        about = ""
    return Content.assemble(
        f"{visible(label(name)):12} ", (visible(about.replace("`", "")), "dim")
    )
