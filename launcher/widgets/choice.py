"""A list to choose from, by arrow keys, mouse or typing."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from textual import events
from textual.widgets import Select

PAUSE = 1.0  # seconds, after which typing starts a new word


class Choice(Select[str]):
    """A dropdown in which typing a name selects it, whether it is open or closed.

    Args:
        options: text and value of each entry.
        choice: other arguments of Textual's `Select`.
    """

    def __init__(self, options: Iterable[tuple[Any, str]], **choice: Any) -> None:
        # Textual's own search only highlights an entry, and only in an open list.
        super().__init__(options, type_to_search=False, compact=True, **choice)
        self._typed, self._typed_at = "", 0.0

    @property
    def is_typed(self) -> bool:
        """Whether the user is typing a name, so that the focus must stay here."""
        return time.monotonic() - self._typed_at < PAUSE

    def check_consume_key(self, key: str, character: str | None = None) -> bool:
        """Return whether a key is a character to type."""
        return bool(character) and str(character).isprintable() and character != " "

    def on_key(self, event: events.Key) -> None:
        """Select the entry that starts with what was typed, or contains it."""
        if not self.check_consume_key(event.key, event.character):
            return
        event.stop()
        event.prevent_default()
        typed = self._typed if self.is_typed else ""
        self._typed_at = time.monotonic()
        for text in (typed + str(event.character), str(event.character)):
            if (found := self._match(text.casefold())) is not None:
                self._typed, self.value = text, found
                return

    def _match(self, text: str) -> str | None:
        names = [
            (str(prompt).casefold().find(text), place, value)
            for place, (prompt, value) in enumerate(self._options)
            if isinstance(value, str)
        ]
        found = sorted(name for name in names if name[0] >= 0)
        return found[0][2] if found else None
