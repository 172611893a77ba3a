"""Text of others, safe to show."""

from __future__ import annotations

import codecs
import contextlib
import io
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console

PLAIN = {
    **{"±": "+-", "…": "...", "Δ": "Delta", "×": "x", "•": "*"},
    **{"\N{EN DASH}": "-", "\N{EM DASH}": "-", "\N{REPLACEMENT CHARACTER}": "?"},
}
"""What is printed where an output cannot encode a character; others are escaped."""


def accept_any_text() -> None:
    """Let standard output print every text, also where it is ASCII, as under LANG=C."""
    codecs.register_error("kmtard.plain", _plain)
    # What stands in for it, as in a test, may be no file.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="kmtard.plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    chars = error.object[error.start : error.end]
    return "".join(PLAIN.get(char) or ascii(char)[1:-1] for char in chars), error.end


def visible(text: str) -> str:
    """Return the text with a mark in place of what would move the cursor or fail.

    These are control characters, escape sequences' first ones among them, marks of
    direction, and bytes of a file name that are not UTF-8.
    """
    return "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for char in text.replace("\t", " ")
    )


def visible_lines(text: str) -> str:
    """Return a text of several lines with each of them as of `visible`."""
    return "\n".join(map(visible, text.split("\n")))


def tell(console: Console, text: object) -> None:
    """Print a text that may hold anything, as it is and on lines of its own.

    Everything that a command says goes through this or through a `Table`: names,
    recipes, logs and errors can come from somebody else.
    """
    console.out(visible_lines(str(text)), highlight=False)


@contextlib.contextmanager
def telling_warnings(tell: Callable[[str], object]) -> Iterator[None]:
    """Hand what is warned about meanwhile to `tell`, without its place in the code."""

    def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
        if issubclass(category, UserWarning):
            tell(f"warning: {message}")
        else:
            usual(message, category, *place)

    usual = warnings.showwarning
    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]
        yield


def shortened(text: str, width: int) -> str:
    """Return the text in so many cells, its middle left out where it is too long."""
    if cell_len(text) > width > 1:
        head, tail = set_cell_size(text, width // 2 - 1).rstrip(), text
        while cell_len(tail) > width - cell_len(head) - 1:
            tail = tail[1:]
        text = f"{head}…{tail}"
    return set_cell_size(text, width)
