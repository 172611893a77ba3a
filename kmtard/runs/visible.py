"""Make text from other people safe to show in a terminal."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
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


def shortened_apart(texts: Sequence[str], width: int) -> list[str]:
    """Return each text in exactly `width` terminal cells, with what differs visible.

    A longer text loses its middle as in `shortened`. If two different texts then look
    the same, they lose what they have in common before the first difference.

    Example:
        >>> shortened_apart(["trades-s0-7f3a-digits", "trades-s1-7f3a-digits"], 12)
        ['tra…s0-7f3a…', 'tra…s1-7f3a…']
    """
    found = {text: shortened(text, width) for text in texts}
    alike: dict[str, list[str]] = {}
    for text, short in found.items():
        alike.setdefault(short, []).append(text)
    for group in alike.values():
        if len(group) > 1:
            found |= _apart(group, width)
    return [found[text] for text in texts]


def _apart(group: Sequence[str], width: int) -> dict[str, str]:
    """Show the part of each text around the first place where they differ."""
    same = len(os.path.commonprefix(group))
    end = len(os.path.commonprefix([text[same:][::-1] for text in group]))
    head = set_cell_size(group[0], max(0, min(width // 4, same)))
    room = width - cell_len(head) - 1
    shown = {}
    for text in group:
        # From a little before the difference, and to the end where that fits.
        start = min(max(0, same - 1), max(same, len(text) - end) - 1)
        rest = text[max(start, 0) :]
        while len(rest) < len(text) and cell_len(rest) < room:
            rest = text[len(text) - len(rest) - 1 :]
        short = set_cell_size(rest, room - 1) + "…" if cell_len(rest) > room else rest
        shown[text] = set_cell_size(f"{head}…{short}", width)
    return shown


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
