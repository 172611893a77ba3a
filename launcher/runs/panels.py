"""Which metrics of a run share a plot."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from kmtard.registry.roles import LABELS, TEACHERS
from kmtard.runs.history import History, Phase
from kmtard.runs.phase import SPEED
from kmtard.runs.usage import GIB, Usage
from launcher.palette import STYLES
from launcher.widgets.axes import XAxis, x_axis_of
from launcher.widgets.metric_plot import Level, Mark, PlotSeries


@dataclass(frozen=True)
class Panel:
    """The metrics of one plot.

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
        """Its name in the settings."""
        return f"plot:{self.name}"


def _of_teachers(metric: str) -> dict[str, str]:
    """Return name -> label of a metric that each teacher has."""
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
            "val_loss": "on held-out images",
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
    Panel(
        "rate",
        "learning rate",
        {"learning_rate": "learning rate"},
        digits=5,
    ),
    Panel("speed", "training speed, images/s", {SPEED: "images/s"}, digits=0),
)
SYSTEM_PANELS = (
    Panel(
        "system",
        "use of the machine, %",
        {
            "cpu": "CPU",
            "machine_memory": "memory",
            "gpu": "GPU",
            "gpu_memory_share": "GPU memory",
        },
        digits=0,
    ),
    Panel(
        "memory",
        "memory of this run, and used on its GPUs, GiB",
        {"memory": "this run", "gpu_memory": "GPU"},
        1 / GIB,
        2,
    ),
    Panel(
        "power",
        "GPU power, W, and temperature, °C",
        {"gpu_power": "W", "gpu_temperature": "°C"},
        digits=0,
    ),
)
"""What a run used of its machine, over its working time, in all of its phases."""

NOT_MEASURED = (
    "Not measured: this run is of an earlier version, or worked for less than 10 s."
)

EXACT = ("weight", "temperature", "learning_rate")
"""Parts of the names of metrics that a schedule or a balance sets.

They are exact. An average of them would be wrong.
"""

NAMED = {metric for panel in PANELS for metric in panel.metrics}
OTHER = "other"


def panels_of(phase: Phase | None, usage: Usage) -> list[Panel]:
    """Return the panels with values, the accuracies, and the use of the machine.

    Args:
        phase: None if none has begun.
        usage: what the run used of its machine.
    """
    metrics = phase.metrics if phase else {}
    found = [
        panel for panel in PANELS[1:] if any(name in metrics for name in panel.metrics)
    ]
    rest = {name: name for name in metrics if name not in NAMED}
    others = [Panel(OTHER, "other metrics", rest)] if rest else []
    first, *more = SYSTEM_PANELS
    system = [first, *(each for each in more if _has_values(each, usage))]
    return [PANELS[0], *found, *others, *system]


def _has_values(panel: Panel, usage: Usage) -> bool:
    return any(name in usage.series for name in panel.metrics)


def can_be_smoothed(metric: str) -> bool:
    """Return whether the values of a metric are noisy, and not set exactly."""
    return not any(part in metric for part in EXACT)


def curves(
    panel: Panel, phase: Phase | None, hidden: Collection[str], strength: float
) -> list[PlotSeries]:
    """Return the curves of a panel; where smoothed, with the raw ones faint below.

    Args:
        panel: one of `panels_of`.
        phase: None if none has begun.
        hidden: metrics without a curve.
        strength: of the smoothing, in [0, 1); 0 for none.
    """
    series = []
    for number, (name, label) in enumerate(panel.metrics.items()):
        values = phase.metrics.get(name) if phase else None
        if values is None or name in hidden:
            continue
        style = STYLES[number % len(STYLES)]
        raw = PlotSeries(label, values.x, _scaled(values.y, panel), style)
        if strength and len(values.x) > 1 and can_be_smoothed(name):
            series.append(replace(raw, faint=True))
            smooth = _scaled(values.smoothed(strength), panel)
            raw = replace(raw, y=smooth, label=f"{label}, smoothed")
        series.append(raw)
    return series


def _scaled(y: Sequence[float | None], panel: Panel) -> list[float | None]:
    return [value if value is None else value * panel.scale for value in y]


def usage_curves(
    panel: Panel, usage: Usage, hidden: Collection[str]
) -> tuple[list[PlotSeries], XAxis]:
    """Return the curves of one of `SYSTEM_PANELS`, over working time.

    Args:
        panel: the panel.
        usage: what the run used of its machine.
        hidden: values without a curve.
    """
    longest = max((one.x[-1] for one in usage.series.values()), default=0.0)
    x_axis, unit = x_axis_of("time", longest)
    curves = [
        PlotSeries(
            label,
            [x / unit for x in usage.series[name].x],
            _scaled(usage.series[name].y, panel),
            STYLES[number],
        )
        for number, (name, label) in enumerate(panel.metrics.items())
        if name in usage.series and name not in hidden
    ]
    return curves, x_axis


def placed(
    series: Sequence[PlotSeries], marks: Sequence[Mark], phase: Phase | None, axis: str
) -> tuple[list[PlotSeries], list[Mark], XAxis]:
    """Return curves and vertical lines over epochs as those on another axis.

    Args:
        series: the curves.
        marks: label and epoch of vertical lines.
        phase: None if none has begun.
        axis: `epoch`, `step` or `time`.
    """
    times = phase.places.get("time") if phase else None
    x_axis, unit = x_axis_of(axis, (times.last or 0.0) if times else 0.0)

    def places(epochs: Sequence[float]) -> list[float]:
        found = phase.along(axis, epochs) if phase else list(epochs)
        return [place / unit for place in found]

    curves = []
    for one in series:
        xs = places(one.x)
        curves.append(replace(one, x=xs, y=one.y[: len(xs)]))
    lines = [(name, x) for name, epoch in marks for x in places([epoch])]
    return curves, lines, x_axis


def levels(history: History, hidden: Collection[str]) -> list[Level]:
    """Return the teachers' accuracies as horizontal lines in the curves' colors."""
    found = []
    for role in TEACHERS:
        accuracies = history.accuracies(role)
        for number, name in enumerate(ACCURACIES):
            value = accuracies.metrics[name] if accuracies else None
            # All accuracies of both would hide the curves: one per teacher.
            if value is not None and name == _aim(role) and name not in hidden:
                # The curves are of other images than the final evaluation.
                origin = ", test" if accuracies and accuracies.is_final else ""
                label = f"{LABELS[role]}{origin}"
                found.append((label, 100 * value, STYLES[number]))
    return found


def _aim(role: str) -> str:
    return "clean_accuracy" if role == "nat_teacher" else "robust_accuracy"


def marks(phase: Phase | None) -> list[Mark]:
    """Return a vertical line at the best epoch."""
    best = phase.best if phase else None
    return [(f"best epoch {best.epoch}", best.epoch)] if best and best.epoch else []
