"""The file of a recipe, below the facts from its header."""

from __future__ import annotations

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


class RecipePreview(VerticalScroll):
    """The facts, then the text."""

    def compose(self) -> ComposeResult:
        """Show the frame; `show` fills it."""
        yield Static(id="facts")
        yield Static(id="text")

    def show(self, file: RecipeFile) -> None:
        """Show a file, scrolled to its start."""
        lines = file.text.splitlines()[:LONGEST]
        text = "\n".join(visible(line[:WIDEST]) for line in lines)
        self.query_one("#facts", Static).update(_facts(file))
        self.query_one("#text", Static).update(highlight(text, language="toml"))
        self.scroll_home(animate=False)


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
