"""The keys of a plot, the same on every screen that has one."""

from __future__ import annotations

from launcher.widgets.metric_plot import MetricPlot

KEYS_OF_VIEW = ("cross", "cross_before", "enlarge", "reduce", "left", "right", "whole")
"""Names of the keys that change the part that is shown and the crosshair."""


class PlotKeys:
    """The actions of the table `plot` in `launcher.bindings`."""

    @property
    def plot(self) -> MetricPlot:
        """The plot that the keys are for."""
        raise NotImplementedError

    def action_cross(self, by: int) -> None:
        """Move the crosshair to the next value, or the one before."""
        self.plot.cross(by)

    def action_zoom_plot(self, by: int) -> None:
        """Enlarge the curves around the crosshair, or show more of them."""
        self.plot.zoom(by)

    def action_pan(self, by: int) -> None:
        """Show what is further right or left."""
        self.plot.pan(by)

    def action_whole(self) -> None:
        """Show all of the curves, and no crosshair."""
        self.plot.show_whole()
