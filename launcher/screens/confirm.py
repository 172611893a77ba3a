"""A dialog for a question with yes or no."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Static

from kmtard.runs.visible import visible, visible_lines
from launcher.bindings import bindings
from launcher.screens.base import Dialog


class ConfirmScreen(Dialog[bool]):
    """Asks before an action that cannot be undone.

    Args:
        question: one sentence.
        yes: label of the button that does it.
        details: what happens then.
    """

    PAGE = "confirm"
    CSS_PATH = "confirm.tcss"
    AUTO_FOCUS = "#no"
    BINDINGS: ClassVar[list[BindingType]] = bindings("confirm")

    def __init__(self, question: str, yes: str = "Yes", details: str = "") -> None:
        super().__init__()
        self._question = question
        self._yes = yes
        self._details = details

    def compose(self) -> ComposeResult:
        """Show the question, with the focus on No."""
        with Vertical(id="confirm"):
            yield Static(Text(visible(self._question)), id="question")
            if self._details:
                yield Static(Text(visible_lines(self._details)), id="details")
            with Horizontal():
                yield Button(
                    Text(f"{self._yes} (y)"), "warning", id="yes", compact=True
                )
                yield Button("No (n)", id="no", compact=True)

    @on(Button.Pressed)
    def _press(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, answer: bool) -> None:
        """Answer the question."""
        self.dismiss(answer)
