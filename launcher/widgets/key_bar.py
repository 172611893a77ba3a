"""The footer: the keys of a screen."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Footer
from textual.widgets._footer import FooterKey


class KeyBar(Footer):
    """As many keys as fit, and always the one for help."""

    DEFAULT_CSS = """
    KeyBar.-compact FooterKey.-command-palette {
        margin-right: 0;
        padding-right: 1;
    }
    """

    def __init__(self) -> None:
        super().__init__(show_command_palette=False, compact=True)

    def compose(self) -> ComposeResult:
        """Show the keys, with help at the right end."""
        for part in super().compose():
            # There is no room for what cannot be done now.
            if not part.has_class("-disabled"):
                yield part
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
