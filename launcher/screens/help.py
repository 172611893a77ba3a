"""A page of help about a screen: what it is for, and its keys."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Markdown, Static

from launcher.actions import actions_of
from launcher.bindings import bindings
from launcher.screens.base import Dialog, LauncherScreen
from launcher.widgets.key_bar import KeyBar


class HelpScreen(Dialog[None]):
    """Help about the screen below it.

    Args:
        about: the screen.
    """

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("help")

    def __init__(self, about: Screen[Any]) -> None:
        super().__init__()
        self._text = about.help_text if isinstance(about, LauncherScreen) else ""
        self._keys = _keys_of(about)

    def compose(self) -> ComposeResult:
        """Show the text, then the keys."""
        with VerticalScroll(id="help"):
            yield Markdown(self._text)
            yield Static(self._keys)
        yield KeyBar()

    def on_mount(self) -> None:
        """Let the arrow keys scroll at once."""
        self.query_one("#help").focus()


def _keys_of(screen: Screen[Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    for action in actions_of(screen):
        style = "dim" if action.reason else ""
        about = Text(action.label, style)
        about.append(f"  {action.explanation}", style="dim")
        table.add_row(Text(action.keys, style or "bold"), about)
    return table
