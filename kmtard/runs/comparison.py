"""Compare several runs: their curves, accuracies and settings."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from kmtard.runs.folder import Run
from kmtard.runs.formats import (
    ABSENT,
    deviation,
    duration,
    percent,
    points,
    radius_text,
)
from kmtard.runs.listing import is_marked, needs_explanation
from kmtard.runs.phase import interpolated
from kmtard.runs.settings import (
    differing,
    distinctions,
    read_settings,
    seed_groups,
)
from kmtard.runs.summary import Summary, SummaryReader
from kmtard.runs.tables import Table

FIRST_METRICS = (
    *("w_robust_accuracy", "clean_accuracy", "robust_accuracy"),
    *("loss", "nat_loss", "adv_loss", "relative_nat_loss", "relative_adv_loss"),
    *("nat_weight", "adv_weight", "nat_temperature", "adv_temperature"),
    *("nat_entropy", "adv_entropy", "learning_rate"),
)
FIGURES = ("clean", "robust", "W-Robust")

MIXED = (
    "of: test is the final evaluation; epoch is the best one so far, on the images "
    "that choose it. The two cannot be compared."
)

Points = tuple[tuple[float, ...], tuple[float | None, ...]]
Shares = Sequence[float | None]


@dataclass(frozen=True)
class Compared:
    """One run of a comparison.

    Attributes:
        summary: the run in brief.
        curves: metric -> epochs and values of the student.
        settings: the flat settings of its recipe.
        places: `step` or `time` -> epochs, and where each is on that axis, as in
            `Phase.places`.
    """

    summary: Summary
    curves: Mapping[str, Points]
    settings: Mapping[str, str]
    places: Mapping[str, Points] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.summary.run.path

    def along(self, axis: str, epochs: Sequence[float]) -> Sequence[float]:
        """Return where epochs are on an axis: themselves on one that is not known."""
        found = self.places.get(axis)
        return epochs if found is None else interpolated(*found, epochs)

    @property
    def shares(self) -> Shares:
        """Clean, robust and W-Robust accuracy in [0, 1]; None if unknown."""
        score = self.summary.score
        return (score.clean, score.robust, score.w_robust) if score else (None,) * 3


class ComparedReader:
    """Reads one run; files that have not changed are not read again.

    Args:
        run: the run. Its files may be damaged in any way.
    """

    def __init__(self, run: Run) -> None:
        self._reader = SummaryReader(run, in_detail=True)
        self._settings: dict[str, str] | None = None
        self._changes = 0
        self._curves: dict[str, Points] = {}
        self._places: dict[str, Points] = {}

    def read(self) -> Compared:
        """Return the present state of the run. Call it from one thread at a time."""
        if self._settings is None:
            self._settings = read_settings(self._reader.run)
        summary, history = self._reader.read(), self._reader.history
        if history.changes != self._changes:
            self._changes = history.changes
            student = history.phases.get("student")
            # Copies, because the next reading changes the series in place.
            self._curves, self._places = (
                {name: (tuple(one.x), tuple(one.y)) for name, one in series.items()}
                for series in (
                    (student.metrics, student.places) if student else ({}, {})
                )
            )
        return Compared(summary, self._curves, self._settings, self._places)


def metrics_of(runs: Iterable[Compared]) -> list[str]:
    """Return the metrics that at least one run has, the accuracies first."""
    found = {name for run in runs for name in run.curves}
    first = [name for name in FIRST_METRICS if name in found]
    return first + sorted(found.difference(first))


def legend_of(runs: Sequence[Compared]) -> list[str]:
    """Return a label per run for a figure: as short as distinguishes all.

    A label is the method, then its seed, then the settings that differ.

    Args:
        runs: the runs, in order. If two have the same settings and seed, or one lacks
            its method or seed, the labels are the names of the folders.
    """
    pairs = [(run.summary.method, run.summary.seed) for run in runs]
    if not all(map(all, pairs)):
        return [run.summary.name for run in runs]
    texts = {member.path: name for name, members in _groups(runs) for member in members}
    for labels in (
        [method for method, _ in pairs],
        [f"{method}, seed {seed}" for method, seed in pairs],
        [
            f"{texts.get(run.path, method)}, seed {seed}"
            for run, (method, seed) in zip(runs, pairs, strict=True)
        ],
    ):
        if len(set(labels)) == len(runs):
            return labels
    return [run.summary.name for run in runs]


def figures_table(runs: Sequence[Compared], baseline: Path | None) -> Table:
    """Return the accuracies of each run in %: final ones, or those of the best epoch.

    Runs that differ only in their seed are followed by two rows: their mean and their
    standard deviation (n - 1). If the radii of the attacks differ, they have a column.
    Robust accuracies at different radii are neither subtracted nor averaged. Neither
    are accuracies of epochs and those of the final evaluation.

    Args:
        runs: the runs, in the order of the rows.
        baseline: folder of the run from which the differences of the others are
            computed; None for a table without differences.
    """
    base = next((run for run in runs if run.path == baseline), None)
    radii = [run.summary.epsilon for run in runs]
    lines = [_line(run, base) for run in runs]
    for name, members in _groups(runs):
        lines += _group_lines(name, members, base)
    changes = [f"Δ {name}" for name in FIGURES] if base else []
    header = ["run", *FIGURES, *changes, "of", "attack", "radius"]
    header += ["epoch", "time", "state", "method", "seed"]
    if len(set(radii)) < 2:
        place = header.index("radius")
        header, *lines = (
            [*cells[:place], *cells[place + 1 :]] for cells in (header, *lines)
        )
    notes = [MIXED] if needs_explanation(run.summary for run in runs) else []
    return Table(header, lines, {*FIGURES, *changes, "radius", "time"}, notes=notes)


def _groups(runs: Sequence[Compared]) -> list[tuple[str, list[Compared]]]:
    """Return a name and the runs of each setting, whose seeds alone differ."""
    radii = [run.summary.epsilon for run in runs]
    groups = seed_groups([run.settings for run in runs], radii)
    firsts = [runs[group[0]] for group in groups]
    found = []
    for group in groups:
        members = [runs[position] for position in group]
        alike = [each for each in firsts if _method(each) == _method(members[0])]
        settings = [each.settings for each in alike]
        differs = distinctions(settings)[alike.index(members[0])]
        name = ", ".join(filter(None, (_method(members[0]), differs)))
        found.append((name, members))
    return found


@dataclass(frozen=True)
class Folded:
    """One curve for the runs of a setting.

    Attributes:
        path: folder of the first run.
        label: name of a run alone, else of the setting with the number of its runs.
        x: epochs that at least two runs have; all those of a run alone. On another
            axis their places, or the mean of the runs' places.
        y: mean of the runs.
        low: mean minus standard deviation (n - 1); empty for a run alone.
        high: mean plus standard deviation.
    """

    path: Path
    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()


def folded(
    runs: Sequence[Compared],
    metric: str,
    axis: str = "epoch",
    labels: Sequence[str] = (),
) -> list[Folded]:
    """Return the curves of a metric, those of equal settings as mean and deviation.

    Args:
        runs: the runs, in the order of the curves. Those without the metric have none.
        metric: name of the metric.
        axis: `epoch`, `step` or `time`, for x.
        labels: one per run, for those that are alone; their names if left out.
    """
    named = {
        run.path: label
        for run, label in zip(
            runs, labels or [run.summary.name for run in runs], strict=True
        )
    }
    having = [run for run in runs if metric in run.curves]
    groups = {members[0].path: (name, members) for name, members in _groups(having)}
    grouped = {run.path for _, members in groups.values() for run in members[1:]}
    curves = []
    for run in having:
        name, members = groups.get(run.path, ("", [run]))
        if len(members) > 1:
            curves.append(_mean_curve(name, members, metric, axis))
        elif run.path not in grouped:
            curves.append(single(run, metric, axis, named[run.path]))
    return curves


def single(run: Compared, metric: str, axis: str, label: str) -> Folded:
    """Return the curve of a run alone, without a point if its axis is unknown."""
    epochs, values = run.curves[metric]
    places = run.along(axis, epochs)
    return Folded(run.path, label, places, values[: len(places)])


def _mean_curve(name: str, runs: Sequence[Compared], metric: str, axis: str) -> Folded:
    values: dict[float, list[float]] = {}
    places: dict[float, list[float]] = {}
    for run in runs:
        epochs = run.curves[metric][0]
        for epoch, x, y in zip(
            epochs, run.along(axis, epochs), run.curves[metric][1], strict=False
        ):
            if y is not None:
                values.setdefault(epoch, []).append(y)
                places.setdefault(epoch, []).append(x)
    kept = sorted((x, found) for x, found in values.items() if len(found) > 1)
    means = [statistics.fmean(found) for _, found in kept]
    spreads = [statistics.stdev(found) for _, found in kept]
    return Folded(
        runs[0].path,
        f"{name}, mean of {len(runs)}",
        # Not each run has each epoch, so the means alone could decrease.
        list(accumulate((statistics.fmean(places[epoch]) for epoch, _ in kept), max)),
        means,
        [mean - spread for mean, spread in zip(means, spreads, strict=True)],
        [mean + spread for mean, spread in zip(means, spreads, strict=True)],
    )


def _method(run: Compared) -> str:
    return run.summary.method


def _radius(run: Compared) -> str:
    return radius_text(run.summary.epsilon) or ABSENT


def _line(run: Compared, base: Compared | None) -> list[str]:
    summary, score = run.summary, run.summary.score
    about = [score.origin, score.attack] if score else [ABSENT] * 2
    about += [
        _radius(run),
        summary.progress or ABSENT,
        duration(summary.seconds),
        summary.state,
        summary.method or ABSENT,
        summary.seed or ABSENT,
    ]
    shares = _comparable(run, base)
    return [summary.name, *_cells(run.shares, shares), *about]


def _comparable(run: Compared, base: Compared | None) -> Shares | None:
    """Return the baseline's accuracies that can be compared with a run's."""
    if base is None:
        return None
    if is_marked(run.summary) != is_marked(base.summary):
        return (None,) * 3
    if run.summary.epsilon == base.summary.epsilon:
        return base.shares
    return (base.shares[0], None, None)


def _group_lines(
    name: str, runs: Sequence[Compared], base: Compared | None
) -> list[list[str]]:
    # The mean is of what can be compared, and never of both kinds.
    final = [run for run in runs if run.summary.score and not is_marked(run.summary)]
    runs = final if len(final) > 1 else [run for run in runs if run not in final]
    columns = [
        [share for share in shares if share is not None]
        for shares in zip(*(run.shares for run in runs), strict=True)
    ]
    if min(map(len, columns), default=0) < 2:
        return []
    count = len(runs)
    origin = "test" if final == runs else "epochs"
    # Accuracies under different attacks have no attack in common to name.
    attacks = {run.summary.score.attack for run in runs if run.summary.score}
    attack = attacks.pop() if len(attacks) == 1 else ABSENT
    about = [origin, attack, _radius(runs[0]), *[ABSENT] * 3]
    about += [_method(runs[0]) or ABSENT, ABSENT]
    means = list(map(statistics.mean, columns))
    empty = [ABSENT] * len(FIGURES) if base else []
    return [
        [
            f"{name}, mean of {count}",
            *_cells(means, _comparable(runs[0], base)),
            *about,
        ],
        [f"{name}, ± of {count}", *map(deviation, columns), *empty, *about],
    ]


def _cells(shares: Shares, base: Shares | None) -> list[str]:
    cells = [percent(share) for share in shares]
    if base:
        cells += [points(*pair) for pair in zip(shares, base, strict=True)]
    return cells


def settings_table(runs: Sequence[Compared]) -> Table:
    """Return the settings that are not the same in all runs, one column per run."""
    found = differing([run.settings for run in runs])
    rows = [[key, *values] for key, values in found.items()]
    return Table(["setting", *(run.summary.name for run in runs)], rows)
