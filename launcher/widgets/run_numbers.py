"""The accuracies of a run as a small table."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text
from textual.widgets import Static

from launcher.palette import STYLES
from launcher.runs.documents import percent
from launcher.runs.history import History
from launcher.runs.panels import ACCURACIES, LABELS, best_accuracies
from launcher.runs.phase import Phase

FIRST, LEAST, GAP = 11, 8, 2  # cells


class RunNumbers(Static):
    """Accuracies now, at the best epoch, of the teachers and on the test images."""

    def show(self, history: History, role: str) -> None:
        """Show a role's accuracies, and beside the student's those of the teachers."""
        phase = history.phases.get(role)
        columns = _columns(history, role, phase)
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


def _columns(
    history: History, role: str, phase: Phase | None
) -> dict[str, Mapping[str, float | None]]:
    metrics = phase.metrics if phase else {}
    columns: dict[str, Mapping[str, float | None]] = {
        "now": {name: metrics[name].last for name in ACCURACIES if name in metrics}
    }
    if phase is not None and phase.best is not None:
        columns[f"best, {phase.best[0]}"] = best_accuracies(history, role)
    if judged := history.judged(role):
        columns["test"] = judged
    if role == "student":
        teachers = {LABELS[name]: best_accuracies(history, name) for name in LABELS}
        columns |= {title: values for title, values in teachers.items() if values}
    return columns
