"""A list of choices with a tick before each."""

from __future__ import annotations

from typing import TypeVar

from rich.segment import Segment
from textual.strip import Strip
from textual.widgets import SelectionList
from textual.widgets._toggle_button import ToggleButton

Value = TypeVar("Value")


class Ticks(SelectionList[Value]):
    """Choices of which any number is ticked.

    Textual marks all of them with the same letter, in another color if one is chosen:
    without colors they could not be told apart.
    """

    def render_line(self, y: int) -> Strip:
        """Return a line, without the letter where it is not ticked."""
        segments = list(super().render_line(y))
        index = self.scroll_offset.y + y
        if index >= self.option_count or len(segments) < 2:
            return Strip(segments)
        text, style, control = segments[1]
        is_ticked = self.get_option_at_index(index).value in self.selected
        if text == ToggleButton.BUTTON_INNER and not is_ticked:
            segments[1] = Segment(" ", style, control)
        return Strip(segments)
