"""The keys of a screen, on its last line."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Footer
from textual.widgets._footer import FooterKey


class KeyBar(Footer):
    """As many keys as there is room for; the one for help is always there."""

    DEFAULT_CSS = """
    KeyBar.-compact FooterKey.-command-palette {
        margin-right: 0;
        padding-right: 1;
    }
    """

    def __init__(self) -> None:
        super().__init__(show_command_palette=False, compact=True)

    def compose(self) -> ComposeResult:
        """Show the keys, and at the right end the one that explains them all."""
        yield from super().compose()
        for active in self.screen.active_bindings.values():
            if active.binding.id == "app.help":
                yield FooterKey(
                    active.binding.key,
                    self.app.get_key_display(active.binding),
                    active.binding.description,
                    active.binding.action,
                    tooltip=active.binding.tooltip,
                    classes="-command-palette",
                )
                return
