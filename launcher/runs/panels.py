"""Which curves of a run stand together, and how they are smoothed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from launcher.palette import STYLES
from launcher.runs.history import History
from launcher.runs.phase import Phase, Series
from launcher.widgets.metric_plot import Level, Mark, PlotSeries

LABELS = {"nat_teacher": "clean teacher", "adv_teacher": "robust teacher"}


@dataclass(frozen=True)
class Panel:
    """Curves that are shown in one plot.

    Attributes:
        name: one word.
        title: of the plot.
        metrics: name -> label, of each curve.
        scale: factor of the values, 100 for accuracies in %.
        digits: decimals of numbers.
    """

    name: str
    title: str
    metrics: dict[str, str]
    scale: float = 1.0
    digits: int = 3

    @property
    def key(self) -> str:
        """Its name among the things that are hidden."""
        return f"plot:{self.name}"


ACCURACIES = {
    "clean_accuracy": "clean",
    "robust_accuracy": "robust",
    "w_robust_accuracy": "W-Robust",
}
PANELS = (
    Panel("accuracy", "accuracy, %", ACCURACIES, 100, 2),
    Panel(
        "losses",
        "losses",
        {
            "loss": "loss",
            "nat_loss": "clean part",
            "adv_loss": "robust part",
            "val_loss": "on images not trained on",
        },
        digits=4,
    ),
    Panel(
        "relative",
        "relative losses",
        {"relative_nat_loss": "clean teacher", "relative_adv_loss": "robust teacher"},
    ),
    Panel(
        "weights",
        "loss weights",
        {"nat_weight": "clean teacher", "adv_weight": "robust teacher"},
    ),
    Panel(
        "temperatures",
        "temperatures",
        {"nat_temperature": "clean teacher", "adv_temperature": "robust teacher"},
    ),
    Panel(
        "entropies",
        "entropies",
        {"nat_entropy": "clean teacher", "adv_entropy": "robust teacher"},
    ),
    Panel(
        "training",
        "accuracy on training images, %",
        {f"train_{name}": label for name, label in ACCURACIES.items()},
        100,
        2,
    ),
    Panel("rate", "learning rate", {"learning_rate": "learning rate"}, digits=5),
)
NAMED = {metric for panel in PANELS for metric in panel.metrics}
OTHER = "other"


def panels_of(phase: Phase | None) -> list[Panel]:
    """Return the panels that a phase has values for; the accuracies always."""
    metrics = phase.metrics if phase else {}
    found = [
        panel for panel in PANELS[1:] if any(name in metrics for name in panel.metrics)
    ]
    rest = {name: name for name in metrics if name not in NAMED}
    return [PANELS[0], *found, *([Panel(OTHER, "other metrics", rest)] if rest else [])]


def curves(
    panel: Panel, phase: Phase | None, hidden: Collection[str], strength: float
) -> list[PlotSeries]:
    """Return the curves of a panel, the raw ones faint below where smoothed.

    Args:
        panel: one of `panels_of`.
        phase: None where none has begun.
        hidden: metrics that are left out.
        strength: of the smoothing, 0 for none, below 1.
    """
    series = []
    for number, (name, label) in enumerate(panel.metrics.items()):
        values = phase.metrics.get(name) if phase else None
        if values is None or name in hidden:
            continue
        style = STYLES[number % len(STYLES)]
        y = [value if value is None else value * panel.scale for value in values.y]
        if strength and len(y) > 1:
            series.append(PlotSeries(label, values.x, y, style, faint=True))
            y = smoothed(y, strength)
        series.append(PlotSeries(label, values.x, y, style))
    return series


def levels(history: History, hidden: Collection[str]) -> list[Level]:
    """Return the teachers' accuracies as heights, of the same colours."""
    found = []
    for role, label in LABELS.items():
        accuracies = best_accuracies(history, role)
        for number, name in enumerate(ACCURACIES):
            value = accuracies.get(name)
            # Four lines more would hide the curves: each teacher has what it is for.
            if value is not None and name == _aim(role) and name not in hidden:
                found.append((label, 100 * value, STYLES[number]))
    return found


def _aim(role: str) -> str:
    return "clean_accuracy" if role == "nat_teacher" else "robust_accuracy"


def marks(phase: Phase | None) -> list[Mark]:
    """Return the best epoch."""
    best = phase.best if phase else None
    return [(f"best epoch {best[0]}", best[0])] if best else []


def best_accuracies(history: History, role: str) -> dict[str, float | None]:
    """Return the accuracies of a role's best epoch, or those of the last judgement."""
    phase = history.phases.get(role)
    if phase is not None and phase.best is not None:
        return {
            name: _at(phase.metrics.get(name), phase.best[0]) for name in ACCURACIES
        }
    return history.judged(role)


def _at(series: Series | None, epoch: float) -> float | None:
    if series is None or epoch not in series.x:
        return None
    return series.y[series.x.index(epoch)]


def smoothed(values: Sequence[float | None], strength: float) -> list[float | None]:
    """Return exponential averages without the pull of a start at zero.

    A value that is missing stays so, and the average goes on after it.
    """
    average, weight = 0.0, 0.0
    result: list[float | None] = []
    for value in values:
        if value is not None:
            average = strength * average + (1 - strength) * value
            weight = strength * weight + (1 - strength)
        result.append(None if value is None else average / weight)
    return result
