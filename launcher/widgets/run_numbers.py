"""The accuracies of a run as a small table."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static

from kmtard.runs.formats import percent
from kmtard.runs.history import History
from launcher.palette import STYLES
from launcher.runs.panels import ACCURACIES

FIRST, LEAST, GAP = 11, 8, 2  # cells
MIXED = "now and best: on the images that choose the epoch; test: the final evaluation"


class RunNumbers(Static):
    """`History.accuracy_columns`, in the colors of the plot."""

    def show(self, history: History, role: str) -> None:
        """Show the accuracies of a role."""
        columns = history.accuracy_columns(role)
        widths = {title: max(LEAST, len(title)) + GAP for title in columns}
        head = "".join(f"{title:>{width}}" for title, width in widths.items())
        lines = [Text(" " * FIRST + head, "dim")]
        for number, (name, label) in enumerate(ACCURACIES.items()):
            style = STYLES[number]
            colour = "rgb({},{},{})".format(*style.colour)
            line = Text.assemble((f"{style.marker} {label}".ljust(FIRST), colour))
            for title, values in columns.items():
                bold = "bold" if title == "now" else ""
                line.append(f"{percent(values.get(name)):>{widths[title]}}", bold)
            lines.append(line)
        if history.evaluated(role) is not None and history.best(role) is not None:
            lines.append(Text(MIXED, "dim"))
        self.update(Text("\n").join(lines))
