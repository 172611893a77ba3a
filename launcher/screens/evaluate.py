"""A dialog for the attacks of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import SelectionList, Static
from textual.widgets.selection_list import Selection

from kmtard.registry import ATTACKS, RegistryError, label, summary
from kmtard.runs.queue.task import Task
from kmtard.runs.visible import visible
from launcher.bindings import bindings
from launcher.commands import command_text
from launcher.screens.base import Dialog
from launcher.widgets.key_bar import KeyBar
from launcher.widgets.ticks import Ticks

PAPER = "paper"
SUITE = "suite: paper"


@dataclass(frozen=True)
class Choice:
    """The chosen attacks, and the suite or None."""

    attacks: tuple[str, ...]
    suite: str | None


class EvaluateScreen(Dialog[Choice | None]):
    """Asks for attacks, and starts with the last choice.

    Args:
        run: folder of the run, or of the first one of several.
        named: what is attacked; the name of the run if empty.
    """

    PAGE = "evaluate"
    CSS_PATH = "evaluate.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("evaluate")
    chosen: ClassVar[set[str]] = {"fgsm", "pgd_trades"}

    def __init__(self, run: Path, *, named: str = "") -> None:
        super().__init__()
        self._run = run
        self._named = named or run.name

    def compose(self) -> ComposeResult:
        """Show the paper's suite and all attacks."""
        with Vertical(id="evaluate"):
            yield Static(Text(f"Attacks on {visible(self._named)}"), id="title")
            yield Ticks[str](*map(self._selection, [SUITE, *ATTACKS]))
            yield Static(id="said")
        yield KeyBar()

    def on_mount(self) -> None:
        """Let the arrow keys move at once."""
        self.query_one(SelectionList).focus()
        self._say()

    def _selection(self, name: str) -> Selection[str]:
        about = "the columns of the B-MTARD paper's tables"
        if name != SUITE:
            try:
                about = summary("attacks", name)
            except RegistryError as error:
                about = str(error)
        prompt = Text.assemble(f"{label(name):20} ", (about.replace("`", ""), "dim"))
        return Selection(prompt, name, name in self.chosen)

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
        self.query_one("#said", Static).update(Text(visible(text)))

    def _choice(self) -> Choice:
        attacks = tuple(name for name in ATTACKS if name in self.chosen)
        return Choice(attacks, PAPER if SUITE in self.chosen else None)

    def action_start(self) -> None:
        """Accept the choice unless it is empty."""
        if self.chosen:
            self.dismiss(self._choice())
        else:
            self.app.bell()
