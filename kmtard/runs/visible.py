"""Make text from other people safe to show in a terminal."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console

WIDE = 200
"""Width of an output that is not a terminal, in characters."""

PLAIN = {
    **{"±": "+-", "…": "...", "Δ": "Delta", "×": "x", "•": "*"},
    **{"\N{EN DASH}": "-", "\N{EM DASH}": "-", "\N{REPLACEMENT CHARACTER}": "?"},
}
"""Character -> its replacement if an output cannot encode it; others are escaped."""


def accept_any_text() -> None:
    """Let standard output print every text, even if its encoding is ASCII (LANG=C)."""
    codecs.register_error("kmtard.plain", _plain)
    # A test may replace standard output by another object.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="kmtard.plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    chars = error.object[error.start : error.end]
    return "".join(PLAIN.get(char) or ascii(char)[1:-1] for char in chars), error.end


def visible(text: str) -> str:
    r"""Return the text with a mark in place of each character that is unsafe to print.

    Unsafe are control characters (which begin escape sequences), marks that change the
    text direction, and bytes of a file name that are not UTF-8.

    Example:
        >>> visible("red: \x1b[31m") == "red: \N{REPLACEMENT CHARACTER}[31m"
        True
    """
    return "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for char in text.replace("\t", " ")
    )


def visible_lines(text: str) -> str:
    """Apply `visible` to each line of a text."""
    return "\n".join(map(visible, text.split("\n")))


def wide_console() -> Console:
    """Return a console on standard output that is wide enough for tables.

    Rich uses 80 columns if standard output is not a terminal. There, the numbers of a
    table would not fit on one line. The variable `COLUMNS` sets another width.
    """
    console = Console()
    if console.is_terminal or "COLUMNS" in os.environ:
        return console
    return Console(width=WIDE)


def tell(console: Console, text: object) -> None:
    """Print a text without interpreting any markup in it.

    All output of a command goes through this function or through a `Table`, because
    names, recipes, logs and errors can come from other people.
    """
    console.out(visible_lines(str(text)), highlight=False)


@contextlib.contextmanager
def telling_warnings(tell: Callable[[str], object]) -> Iterator[None]:
    """Context manager: pass warnings to `tell`, without their place in the code."""

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
    """Return the text in exactly `width` terminal cells.

    A longer text loses its middle, and a shorter one is padded with spaces.

    Example:
        >>> shortened("b_mtard-s0-7f3a-digits", 12)
        'b_mta…digits'
    """
    if cell_len(text) > width > 1:
        head, tail = set_cell_size(text, width // 2 - 1).rstrip(), text
        while cell_len(tail) > width - cell_len(head) - 1:
            tail = tail[1:]
        text = f"{head}…{tail}"
    return set_cell_size(text, width)
