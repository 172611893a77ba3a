"""The parts of a report: sections of paragraphs, tables and drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kmtard.report.drawings import Drawing
from kmtard.runs.tables import Table

Block = str | Table | Drawing


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Attributes:
        name: short name, for links and files.
        title: title for the reader.
        blocks: paragraphs, tables and drawings, in the order of the page.
        missing: one text per gap: what is missing and how to get it.

    Example:
        >>> Section("cost", "Cost", missing=["`kmtard fit` measures it."]).blocks
        ()
    """

    name: str
    title: str
    blocks: Sequence[Block] = ()
    missing: Sequence[str] = field(default=())


def code_parts(text: str) -> list[tuple[str, bool]]:
    """Return the parts of a text, and whether each was between backquotes.

    Example:
        >>> code_parts("Use `kmtard fit`.")
        [('Use ', False), ('kmtard fit', True), ('.', False)]
    """
    parts = text.split("`")
    # A single backquote, as in a name, does not begin code.
    if len(parts) % 2 == 0:
        return [(text, False)]
    return [(part, place % 2 == 1) for place, part in enumerate(parts) if part]
