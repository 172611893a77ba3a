"""A dialog for the attacks of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import SelectionList, Static
from textual.widgets.selection_list import Selection

from kmtard.registry import ATTACKS, RegistryError, label, summary
from kmtard.runs.formats import counted, duration
from kmtard.runs.queue.task import Task
from kmtard.runs.results import read_all
from kmtard.runs.visible import visible
from launcher.bindings import bindings
from launcher.closing import while_open
from launcher.commands import command_text
from launcher.runs.attack_costs import cost_text, measured_seconds
from launcher.screens.base import Dialog
from launcher.widgets.key_bar import KeyBar
from launcher.widgets.ticks import Ticks

COSTS = "Time in the last evaluation; otherwise the usual steps or queries per image."
PAPER = "paper"
SUITE = "suite: paper"


@dataclass(frozen=True)
class Choice:
    """The chosen attacks, and the suite or None."""

    attacks: tuple[str, ...]
    suite: str | None


class EvaluateScreen(Dialog[Choice | None]):
    """Asks for attacks, shows what they cost, and starts with the last choice.

    Args:
        run: folder of the run, or of the first one of several.
        named: what is attacked; the name of the run if empty.
    """

    PAGE = "evaluate"
    CSS_PATH = "evaluate.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("evaluate")
    chosen: ClassVar[set[str]] = {"fgsm", "pgd_trades"}

    @dataclass
    class Measured(Message):
        """The times of an earlier evaluation were read."""

        seconds: Mapping[str, float]

    def __init__(self, run: Path, *, named: str = "") -> None:
        super().__init__()
        self._run = run
        self._named = named or run.name
        self._seconds: Mapping[str, float] = {}

    def compose(self) -> ComposeResult:
        """Show the paper's suite and all attacks."""
        with Vertical(id="evaluate"):
            yield Static(Text(f"Attacks on {visible(self._named)}"), id="title")
            yield Static(COSTS, id="costs")
            yield Ticks[str](*map(self._selection, [SUITE, *ATTACKS]))
            yield Static(id="said")
        yield KeyBar()

    def on_mount(self) -> None:
        """Let the arrow keys move at once."""
        self.query_one(SelectionList).focus()
        self._say()
        self._read_times()

    @work(thread=True)
    def _read_times(self) -> None:
        records, _ = read_all(self._run)
        self.post_message(self.Measured(measured_seconds(records)))

    @on(Measured)
    @while_open
    def _show_times(self, event: Measured) -> None:
        self._seconds = event.seconds
        ticks = self.query_one(SelectionList)
        for place, name in enumerate((SUITE, *ATTACKS)):
            if name in event.seconds:
                ticks.replace_option_prompt_at_index(place, self._prompt(name))
        self._say()

    def _selection(self, name: str) -> Selection[str]:
        return Selection(self._prompt(name), name, name in self.chosen)

    def _prompt(self, name: str) -> Text:
        about = "the columns of the B-MTARD paper's tables"
        if name != SUITE:
            try:
                about = summary("attacks", name)
            except RegistryError as error:
                about = str(error)
        cost = "" if name == SUITE else cost_text(name, self._seconds)
        return Text.assemble(
            f"{label(name):19} {cost:>12}  ", (about.replace("`", ""), "dim")
        )

    @on(SelectionList.SelectedChanged)
    def _keep(self) -> None:
        self.chosen.clear()
        self.chosen.update(self.query_one(SelectionList).selected)
        self._say()

    def _say(self) -> None:
        choice = self._choice()
        text = "Choose at least one attack."
        if choice.attacks or choice.suite:
            text = command_text(
                Task.evaluate(
                    self._run, attacks=choice.attacks, suite=choice.suite
                ).command()
            )
            known = [n for n in choice.attacks if n in self._seconds]
            if known:
                took = duration(sum(self._seconds[name] for name in known))
                which = counted(len(known), "chosen attack")
                text = f"{which} took {took} in the last evaluation.\n{text}"
        lines = map(visible, text.split("\n"))
        self.query_one("#said", Static).update(Text("\n".join(lines)))

    def _choice(self) -> Choice:
        attacks = tuple(name for name in ATTACKS if name in self.chosen)
        return Choice(attacks, PAPER if SUITE in self.chosen else None)

    def action_start(self) -> None:
        """Accept the choice unless it is empty."""
        if self.chosen:
            self.dismiss(self._choice())
        else:
            self.app.bell()
