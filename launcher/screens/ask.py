"""One line of text."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from kmtard.runs.visible import visible
from launcher.widgets.key_bar import KeyBar


class AskScreen(ModalScreen[str | None]):
    """Asks for a line, and tells at each key whether it will do.

    What was typed and not sent is there again when the same is asked the next time.

    Args:
        question: in one sentence.
        value: to begin with.
        check: text -> what is wrong with it; None if it will do.
    """

    HELP = """
# One line

**Enter** takes it, if nothing is wrong with it. **Escape** leaves everything as it is;
what was typed is kept for the next time.
"""
    CSS_PATH = "ask.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Cancel", id="ask.leave"),
    ]
    typed: ClassVar[dict[str, str]] = {}

    def __init__(
        self, question: str, value: str, check: Callable[[str], str | None]
    ) -> None:
        super().__init__()
        self._question = question
        self._value = value
        self._check = check

    def compose(self) -> ComposeResult:
        """Show the line with the cursor at its end."""
        with Vertical(id="ask"):
            yield Static(Text(visible(self._question)))
            value = self.typed.get(self._question, self._value)
            yield Input(value, select_on_focus=False)
            yield Static(id="said")
        yield KeyBar()

    @on(Input.Changed)
    def _judge(self, event: Input.Changed) -> None:
        self.typed[self._question] = event.value
        self.query_one("#said", Static).update(
            Text(visible(self._check(event.value) or ""))
        )

    @on(Input.Submitted)
    def _send(self, event: Input.Submitted) -> None:
        if self._check(event.value) is None:
            self.typed.pop(self._question, None)
            self.dismiss(event.value)
        else:
            self.app.bell()

    def action_leave(self) -> None:
        """Close without an answer."""
        self.dismiss(None)
