"""Robust accuracy over epsilon: curves and their table, or the way to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from kmtard.registry import label
from kmtard.runs.radii import (
    curve_command,
    curve_radii,
    radius_records,
    record_radius,
)
from kmtard.runs.result_tables import radii_table
from kmtard.runs.results import Results
from kmtard.runs.tables import Table
from kmtard.runs.visible import visible
from launcher.palette import STYLES
from launcher.widgets.axes import XAxis
from launcher.widgets.metric_plot import MetricPlot, PlotSeries
from launcher.widgets.text_table import TextTable

LEVELS = 255
"""The unit of the axis is one of 255 gray levels, as in `8/255`."""

USUAL = 8 / 255
EPSILONS = XAxis("epsilon × 255", is_whole=False)


class RadiusView(Vertical):
    """The curves of the records of one student that differ in their radius.

    Args:
        folder: of the run.

    Attributes:
        table: the table on the screen, with one row per radius.
        radii: the radii of a curve to measure; empty if there is a curve.
        command: the command line that measures it; empty if there is a curve.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self.table = Table((), ())
        self.radii: tuple[str, ...] = ()
        self.command = ""

    def compose(self) -> ComposeResult:
        """Show the frame only."""
        yield Static(id="missing")
        yield MetricPlot(digits=2)
        yield TextTable(id="radii")

    def show(self, records: Sequence[Results]) -> None:
        """Show the records of a run."""
        found = radius_records(records)
        self.table = radii_table(found) if found else Table((), ())
        self.radii, self.command = (), ""
        if records and not found:
            self.radii = curve_radii(record_radius(records[0]) or USUAL)
            self.command = curve_command(self._folder, self.radii)
        text = (
            "No curve was measured yet. Press m to put the evaluation that measures "
            f"one into the queue, or y to copy its command:\n\n{self.command}"
        )
        self.query_one("#missing", Static).update(
            Text("\n".join(map(visible, text.split("\n"))))
        )
        self.set_class(not found, "-missing")
        self.query_one(TextTable).show(self.table)
        self.query_one(MetricPlot).set_series(_series(found), x_axis=EPSILONS)


def _series(records: Sequence[Results]) -> list[PlotSeries]:
    if not records:
        return []
    clean = 100 * records[0].student.clean.accuracy
    series = []
    for number, name in enumerate(records[0].student.attacks):
        if all(name in each.student.attacks for each in records):
            radii = [LEVELS * (record_radius(each) or 0.0) for each in records]
            shares = [100 * each.student.attacks[name].accuracy for each in records]
            style = STYLES[number % len(STYLES)]
            series.append(
                PlotSeries(
                    label(name), [0, *radii], [clean, *shares], style, every=True
                )
            )
    return series
