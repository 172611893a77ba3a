"""What a screen is for, and its keys."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Markdown, Static

from launcher.widgets.key_bar import KeyBar


class HelpScreen(ModalScreen[None]):
    """Help about the screen below it.

    Args:
        about: the screen; its `HELP` is Markdown.
    """

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss", "Close", id="help.close"),
    ]

    def __init__(self, about: Screen[Any]) -> None:
        super().__init__()
        self._text = about.HELP or ""
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
    rows: dict[tuple[str, str], list[str]] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        if binding.description and not binding.system:
            text = active.tooltip or binding.tooltip or ""
            keys = rows.setdefault((binding.description, text), [])
            keys.append(screen.app.get_key_display(binding))
    for (description, text), keys in rows.items():
        about = Text(description)
        if text:
            about.append(f"  {text}", style="dim")
        table.add_row(Text(" ".join(keys), style="bold"), about)
    return table
