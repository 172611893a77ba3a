"""What a report consists of: sections of paragraphs, tables and drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kmtard.report.drawings import Drawing
from kmtard.runs.tables import Table

Block = str | Table | Drawing


@dataclass(frozen=True)
class Section:
    """One part of a report.

    Attributes:
        name: short name, for links and files.
        title: title for the reader.
        blocks: paragraphs, tables and drawings, in the order of the page.
        missing: how to get what this section would show, one text per gap.
    """

    name: str
    title: str
    blocks: Sequence[Block] = ()
    missing: Sequence[str] = field(default=())


def code_parts(text: str) -> list[tuple[str, bool]]:
    """Return the parts of a text, and whether each stands between backquotes.

    Example:
        >>> code_parts("Use `kmtard fit`.")
        [('Use ', False), ('kmtard fit', True), ('.', False)]
    """
    parts = text.split("`")
    # A single backquote, as in a name, begins no code.
    if len(parts) % 2 == 0:
        return [(text, False)]
    return [(part, place % 2 == 1) for place, part in enumerate(parts) if part]
