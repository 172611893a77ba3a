"""The file of a recipe, below the facts from its header."""

from __future__ import annotations

import re
import textwrap

from rich.console import Group
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.highlight import highlight
from textual.widgets import Static

from kmtard.registry import label
from kmtard.runs.visible import visible
from launcher.recipes.recipe_files import RecipeFile

LONGEST = 2000  # lines that are shown
WIDEST = 500  # characters of a line that are shown


COMMENT = re.compile(r"(\s*#\s*(?:[A-Z][\w ]*:\s+)?)(\S.*)")
"""A comment: its start with the name of a fact, if it has one, and its text."""


class RecipePreview(VerticalScroll):
    """The facts, then the text."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []
        self._filled: tuple[list[str], int] = ([], 0)

    def compose(self) -> ComposeResult:
        """Show the frame; `show` fills it."""
        yield Static(id="facts")
        yield Static(id="text")

    def show(self, file: RecipeFile) -> None:
        """Show a file, scrolled to its start."""
        lines = file.text.splitlines()[:LONGEST]
        self._lines = [visible(line[:WIDEST]) for line in lines]
        self.query_one("#facts", Static).update(_facts(file))
        self._fill()
        self.scroll_home(animate=False)

    def on_resize(self) -> None:
        """Wrap the comments again."""
        self._fill()

    def _fill(self) -> None:
        filled = self._lines, self.scrollable_content_region.width
        if filled != self._filled:
            self._filled = filled
            text = "\n".join(wrapped(line, filled[1]) for line in self._lines)
            self.query_one("#text", Static).update(highlight(text, language="toml"))


def wrapped(line: str, width: int) -> str:
    """Return a line of TOML, with a long comment continued below its text.

    Args:
        line: of the file.
        width: of the screen in cells; 0 if unknown.

    Example:
        >>> print(wrapped("# Time: two hours on one GPU", 20))
        # Time: two hours on
        #       one GPU
    """
    found = COMMENT.fullmatch(line)
    if found is None or len(line) <= width:
        return line
    head, text = found.groups()
    if width < 2 * len(head):
        return line
    below = "#".rjust(head.index("#") + 1).ljust(len(head))
    parts = textwrap.wrap(
        text,
        width,
        initial_indent=head,
        subsequent_indent=below,
        break_on_hyphens=False,
    )
    return "\n".join(parts)


def _facts(file: RecipeFile) -> Group:
    facts = {
        "File": str(file.path),
        "Data": file.data,
        "Student": file.student,
        "Methods": ", ".join(map(label, file.methods or [file.method])),
        **file.facts,
    }
    table = Table.grid(padding=(0, 1))
    for name, value in facts.items():
        table.add_row(Text(visible(name), style="bold"), Text(visible(value)))
    return Group(Text(visible(file.title), style="bold"), table)
