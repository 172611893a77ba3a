"""Dialogs for the plots and curves, and for the columns, to show."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import SelectionList
from textual.widgets.selection_list import Selection

from kmtard.runs.visible import visible
from launcher.bindings import bindings
from launcher.runs.panels import Panel
from launcher.screens.base import Dialog
from launcher.widgets.key_bar import KeyBar
from launcher.widgets.ticks import Ticks


class CurvesScreen(Dialog[None]):
    """A list that shows or hides plots and curves, each change at once.

    Args:
        labels: what can be hidden -> its label.
        hidden: what is hidden.
        changed: called with what is hidden after each change.
    """

    PAGE = "curves"
    CSS_PATH = "curves.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("curves")
    HEADING: ClassVar[str] = "Plots and curves"

    def __init__(
        self,
        labels: Mapping[str, str],
        hidden: Collection[str],
        changed: Callable[[set[str]], None],
    ) -> None:
        super().__init__()
        self._labels = labels
        self._hidden = set(hidden)
        self._changed = changed

    def compose(self) -> ComposeResult:
        """Show what can be hidden, ticked where it is shown."""
        with Vertical(id="curves") as box:
            box.border_title = self.HEADING
            yield Ticks[str](
                *(
                    Selection(Content(label), key, key not in self._hidden)
                    for key, label in self._labels.items()
                )
            )
        yield KeyBar()

    @on(SelectionList.SelectedChanged)
    def _tell(self, event: SelectionList.SelectedChanged[str]) -> None:
        listed = set(self._labels)
        self._hidden = self._hidden - listed | listed - set(event.control.selected)
        self._changed(self._hidden)


class ColumnsScreen(CurvesScreen):
    """A list that shows or hides columns of the list of runs, each change at once."""

    PAGE = "columns"
    HEADING = "Columns"


def curve_labels(panels: Sequence[Panel]) -> dict[str, str]:
    """Return a label for each plot by its key, and below it for each of its metrics."""
    return dict(_labels(panels))


def _labels(panels: Sequence[Panel]) -> Iterator[tuple[str, str]]:
    for panel in panels:
        yield panel.key, panel.title
        for metric, label in panel.metrics.items():
            yield metric, f"  {visible(label)}"
