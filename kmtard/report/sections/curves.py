"""Curves of the student's training: losses, balances, entropies and accuracies."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from kmtard.registry import label
from kmtard.registry.roles import LABELS, TEACHERS
from kmtard.report import paper
from kmtard.report.drawings import Curve, Curves, Panel
from kmtard.report.section import Section
from kmtard.report.sections.cells import without_empty
from kmtard.report.source import Bench, Setting, Source, is_plausible
from kmtard.runs.formats import ABSENT
from kmtard.runs.tables import Table

BALANCED = ("b_mtard", "baseline_ebb")
"""Methods with EBB."""

UNBALANCED = ("mtard", "baseline")
"""Methods with the same teachers and fixed temperatures."""

NO_EPOCHS = "no run has a finished epoch with this metric"


def losses(source: Source) -> Section:
    """Return the total loss over the epochs (Figure 4)."""
    metrics = {
        "loss": "total loss",
        "nat_loss": "clean loss",
        "adv_loss": "robust loss",
    }
    return _section(source, "loss", "Loss (form of Figure 4)", metrics)


def relative_losses(source: Source) -> Section:
    """Return the relative losses of both teachers over the epochs (Figure 5)."""
    metrics = {
        "relative_nat_loss": "relative clean loss",
        "relative_adv_loss": "relative robust loss",
    }
    name = "Relative losses (form of Figure 5)"
    return _section(source, "relative-loss", name, metrics)


def entropies(source: Source) -> Section:
    """Return the entropies of both teachers' outputs over the epochs (Figure 6)."""
    metrics = {
        "nat_entropy": "entropy of the clean teacher",
        "adv_entropy": "entropy of the robust teacher",
    }
    return _section(
        source, "entropy", "Teachers' entropies (form of Figure 6)", metrics
    )


def balance(source: Source) -> Section:
    """Return temperatures and weights over the epochs."""
    metrics = {
        "nat_temperature": "temperature of the clean teacher",
        "adv_temperature": "temperature of the robust teacher",
        "nat_weight": "weight of the clean loss",
        "adv_weight": "weight of the robust loss",
    }
    return _section(source, "balance", "Temperatures and weights", metrics)


def epochs(source: Source) -> Section:
    """Return the accuracies after each epoch."""
    metrics = {
        "clean_accuracy": "clean accuracy, %",
        "robust_accuracy": "robust accuracy, %",
        "w_robust_accuracy": "W-Robust accuracy, %",
    }
    return _section(source, "epochs", "Accuracy after each epoch", metrics)


def _section(
    source: Source, name: str, title: str, metrics: Mapping[str, str]
) -> Section:
    drawings, missing = [], []
    for bench in source.benches:
        panels = []
        for metric, text in metrics.items():
            curves = [
                curve
                for each in bench.settings
                if (curve := _curve(each, metric, bench.look(each)))
            ]
            if curves:
                panels.append(Panel(text, curves))
        if panels:
            caption = (
                f"{bench.title}: the student's training; mean over the seeds, band: "
                "standard deviation. Averages over the batches of each epoch."
            )
            if name == "epochs":
                caption = (
                    f"{bench.title}: on the images that select the best epoch; mean "
                    "over the seeds, band: standard deviation."
                )
            drawings.append(Curves(panels=panels, caption=caption))
        elif name == "loss":
            missing.append(f"{bench.title}: {NO_EPOCHS}.")
    return Section(name, title, drawings, missing)


def _curve(setting: Setting, metric: str, look: int) -> Curve | None:
    """Return the mean over the seeds, for each epoch that any seed has."""
    scale = 100 if metric.endswith("_accuracy") else 1
    found: dict[float, list[float]] = {}
    places: set[float] = set()
    for run in setting.members:
        student = run.history.phases.get("student")
        series = student.metrics.get(metric) if student else None
        if series is None:
            continue
        places.update(series.x)
        for x, y in zip(series.x, series.y, strict=True):
            if y is not None and is_plausible(y):
                found.setdefault(x, []).append(scale * y)
    if not found:
        return None
    epochs = sorted(places)
    return Curve(
        setting.label,
        epochs,
        [statistics.mean(found[x]) if x in found else None for x in epochs],
        [
            statistics.stdev(found[x]) if len(found.get(x, ())) > 1 else None
            for x in epochs
        ],
        look,
    )


def knowledge_scale(source: Source) -> Section:
    """Return the teachers' knowledge scale without and with EBB (Table 1)."""
    tables, missing = [], []
    for bench in source.benches:
        classes = _classes(bench)
        balanced = _first(bench, BALANCED)
        unbalanced = _first(bench, UNBALANCED)
        if classes and (balanced or unbalanced):
            tables.append(_scales(bench, classes, unbalanced, balanced))
        if not (balanced or unbalanced):
            continue
        for found, method in ((balanced, "b_mtard"), (unbalanced, "mtard")):
            if found is None:
                missing.append(
                    f"{bench.title}: no run of {label(method)}. "
                    f"`{bench.fit_command(method)}` trains one."
                )
    return Section("knowledge", "Knowledge scale (form of Table 1)", tables, missing)


def _first(bench: Bench, methods: Sequence[str]) -> Setting | None:
    found = [each for name in methods for each in bench.settings if each.method == name]
    return next((each for each in found if each.last("nat_entropy")), None)


def _classes(bench: Bench) -> int:
    """Return the number of classes in the evaluated images; 0 if unknown."""
    labels = (
        run.results.labels
        for each in bench.settings
        for run in each.members
        if run.results
    )
    return max((max(each) + 1 for each in labels if each), default=0)


def _scales(
    bench: Bench, classes: int, unbalanced: Setting | None, balanced: Setting | None
) -> Table:
    columns = (("unbalanced", unbalanced), ("balanced", balanced))
    header = ["teacher", "network"]
    for name, _ in columns:
        header += [name, f"{name}, paper", f"{name}, Δ"]
    rows = []
    for role in TEACHERS:
        found = unbalanced or balanced
        network = found.settings.get(f"{role}.network", ABSENT) if found else ABSENT
        printed = paper.knowledge_scale(bench.data, network)
        row = [LABELS[role], network]
        for name, setting in columns:
            entropies = (
                setting.last(f"{role.removesuffix('_teacher')}_entropy")
                if setting
                else []
            )
            row += _scale(classes, entropies, printed.get(name))
        rows.append(row)
    droppable = [each for each in header if ", " in each]
    header, rows = without_empty(header, rows, droppable)
    used = [f"{name}: {each.label}" for name, each in columns if each]
    notes = [
        f"ln({classes}) minus the mean entropy of the teacher's output in the last "
        f"epoch, in nats. {'; '.join(used)}.",
        "EBB aims to make the scales of both teachers equal.",
    ]
    numbers = set(header) - {"teacher", "network"}
    return Table(header, rows, numbers, title=bench.title, notes=notes)


def _scale(
    classes: int, entropies: Sequence[float], number: paper.Number | None
) -> list[str]:
    scales = [math.log(classes) - each for each in entropies]
    text = difference = ABSENT
    if scales:
        text = f"{statistics.mean(scales):.4f}"
        text += f" ± {statistics.stdev(scales):.4f}" if scales[1:] else ""
    if scales and number:
        difference = f"{statistics.mean(scales) - number.value:+z.4f}"
    return [text, f"{number.value:.4f}" if number else ABSENT, difference]
