"""Which curves of a run stand together, and how they are smoothed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from kmtard.registry.roles import LABELS, TEACHERS
from kmtard.runs.history import History, Phase
from launcher.palette import STYLES
from launcher.widgets.metric_plot import Level, Mark, PlotSeries


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


def _of_teachers(metric: str) -> dict[str, str]:
    """Return the labels of a metric that each teacher has."""
    return {
        metric.format(role.removesuffix("_teacher")): LABELS[role] for role in TEACHERS
    }


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
        _of_teachers("relative_{}_loss"),
    ),
    Panel(
        "weights",
        "loss weights",
        _of_teachers("{}_weight"),
    ),
    Panel(
        "temperatures",
        "temperatures",
        _of_teachers("{}_temperature"),
    ),
    Panel(
        "entropies",
        "entropies",
        _of_teachers("{}_entropy"),
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
    for role in TEACHERS:
        accuracies = history.accuracies(role)
        for number, name in enumerate(ACCURACIES):
            value = accuracies.metrics[name] if accuracies else None
            # Four lines more would hide the curves: each teacher has what it is for.
            if value is not None and name == _aim(role) and name not in hidden:
                found.append((LABELS[role], 100 * value, STYLES[number]))
    return found


def _aim(role: str) -> str:
    return "clean_accuracy" if role == "nat_teacher" else "robust_accuracy"


def marks(phase: Phase | None) -> list[Mark]:
    """Return the best epoch."""
    best = phase.best if phase else None
    return [(f"best epoch {best.epoch}", best.epoch)] if best and best.epoch else []


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
