"""The mistakes of a recipe, one per line."""

from __future__ import annotations

from collections.abc import Iterable

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from kmtard.recipe import Mistake
from kmtard.runs.visible import visible


class Mistakes(VerticalScroll):
    """The mistakes; hidden if there are none."""

    def compose(self) -> ComposeResult:
        """Show the frame; `show` fills it."""
        yield Static()

    def show(self, mistakes: Iterable[Mistake]) -> None:
        """Show the mistakes with their places."""
        lines = [visible(str(mistake)) for mistake in mistakes]
        self.display = bool(lines)
        self.query_one(Static).update(Content("\n".join(lines)))
