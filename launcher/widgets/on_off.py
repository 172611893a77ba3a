"""A switch that says whether it is on."""

from __future__ import annotations

from typing import Any

from textual.app import RenderResult
from textual.content import Content
from textual.geometry import Size
from textual.widgets import Switch

WIDTH = 5  # cells


class OnOff(Switch):
    """A switch with the word "on" or "off", which can be read without colors.

    Args:
        value: whether it is on.
        options: other arguments of Textual's `Switch`.
    """

    DEFAULT_CSS = """
    OnOff {
        height: 1;
        width: auto;
        border: none;
        padding: 0;
        background: transparent;
        &:focus {
            border: none;
            text-style: reverse;
        }
    }
    """

    def __init__(self, value: bool = False, **options: Any) -> None:
        super().__init__(value, animate=False, **options)

    def render(self) -> RenderResult:
        """Return the sign and the word."""
        if self.value:
            return Content.styled("● on", "bold $text-success")
        return Content.styled("○ off", "$text-muted")

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """Return the width, which is the same for both words."""
        del container, viewport
        return WIDTH

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return one line."""
        del container, viewport, width
        return 1
