"""A question to be answered with yes or no."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from kmtard.runs.visible import visible, visible_lines


class ConfirmScreen(ModalScreen[bool]):
    """Asks before what cannot be taken back.

    Args:
        question: in one sentence.
        yes: what the button says that does it.
        details: what happens then.
    """

    HELP = """
# Are you sure?

**y** does it. **n** or **Escape** leaves everything as it is.
"""
    CSS_PATH = "confirm.tcss"
    AUTO_FOCUS = "#no"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", id="confirm.yes"),
        Binding("n,escape", "answer(False)", "No", id="confirm.no"),
        Binding(
            "left,right", "app.focus_next", "Other", id="confirm.other", show=False
        ),
    ]

    def __init__(self, question: str, yes: str = "Yes", details: str = "") -> None:
        super().__init__()
        self._question = question
        self._yes = yes
        self._details = details

    def compose(self) -> ComposeResult:
        """Show the question; the answer that does nothing has the focus."""
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
        """Close the question."""
        self.dismiss(answer)
