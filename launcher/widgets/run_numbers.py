"""The accuracies of a run as a small table."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text
from textual.widgets import Static

from kmtard.registry.roles import LABELS, TEACHERS
from kmtard.runs.formats import percent
from kmtard.runs.history import History
from launcher.palette import STYLES
from launcher.runs.panels import ACCURACIES

FIRST, LEAST, GAP = 11, 8, 2  # cells


class RunNumbers(Static):
    """Accuracies now, at the best epoch, of the teachers and on the test images."""

    def show(self, history: History, role: str) -> None:
        """Show a role's accuracies, and beside the student's those of the teachers."""
        columns = _columns(history, role)
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
        self.update(Text("\n").join(lines))


def _columns(history: History, role: str) -> dict[str, Mapping[str, float | None]]:
    phase = history.phases.get(role)
    metrics = phase.metrics if phase else {}
    columns: dict[str, Mapping[str, float | None]] = {
        "now": {name: metrics[name].last for name in ACCURACIES if name in metrics}
    }
    if best := history.best(role):
        columns[f"best, {best.epoch}"] = best.metrics
    if final := history.evaluated(role):
        columns[f"test, {final.attack}"] = final.metrics
    if role == "student":
        teachers = {LABELS[name]: history.accuracies(name) for name in TEACHERS}
        columns |= {name: found.metrics for name, found in teachers.items() if found}
    return columns
