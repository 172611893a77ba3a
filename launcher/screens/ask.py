"""A dialog for one line of text."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input, Static

from kmtard.runs.visible import visible
from launcher.screens.base import Dialog
from launcher.widgets.key_bar import KeyBar


class AskScreen(Dialog[str | None]):
    """Asks for a line of text and checks it at each key.

    Text that was typed but not accepted is there again the next time.

    Args:
        question: one sentence.
        value: the text to start with.
        check: returns what is wrong with a text, or None.
    """

    PAGE = "ask"
    CSS_PATH = "ask.tcss"
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
    def _show_mistake(self, event: Input.Changed) -> None:
        self.typed[self._question] = event.value
        mistake = self._check(event.value) or ""
        self.query_one("#said", Static).update(Text(visible(mistake)))

    @on(Input.Submitted)
    def _send(self, event: Input.Submitted) -> None:
        if self._check(event.value) is None:
            self.typed.pop(self._question, None)
            self.dismiss(event.value)
        else:
            self.app.bell()
