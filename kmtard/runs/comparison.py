"""Several runs beside each other: their curves, figures and settings."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kmtard.runs import Run
from launcher.runs.differences import differing, flatten, points, seed_groups
from launcher.runs.documents import percent, read_toml
from launcher.runs.exports import Table
from launcher.runs.history import History
from launcher.runs.listing import duration
from launcher.runs.row import Row, RowReader

FIRST_METRICS = (
    *("w_robust_accuracy", "clean_accuracy", "robust_accuracy"),
    *("loss", "nat_loss", "adv_loss", "relative_nat_loss", "relative_adv_loss"),
    *("nat_weight", "adv_weight", "nat_temperature", "adv_temperature"),
    *("nat_entropy", "adv_entropy", "learning_rate"),
)
FIGURES = ("clean", "robust", "W-Robust")

Points = tuple[tuple[float, ...], tuple[float | None, ...]]
Shares = Sequence[float | None]


@dataclass(frozen=True)
class Compared:
    """One run of a comparison, as it was read.

    Attributes:
        row: as in the list.
        curves: metric -> epochs and values of the student.
        settings: of its recipe, flat.
    """

    row: Row
    curves: Mapping[str, Points]
    settings: Mapping[str, str]

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.row.run.path

    @property
    def shares(self) -> Shares:
        """Clean, robust and W-Robust accuracy."""
        score = self.row.score
        return (score.clean, score.robust, score.w_robust) if score else (None,) * 3


class ComparedReader:
    """Reads one run, again only where its files have changed.

    Args:
        run: its folder, which may be damaged in any way.
    """

    def __init__(self, run: Run) -> None:
        self._row = RowReader(run)
        self._history = History(run)
        self._settings: dict[str, str] | None = None
        self._curves: dict[str, Points] = {}

    def read(self) -> Compared:
        """Return the run as of now; from one thread at a time."""
        if self._settings is None:
            self._settings = flatten(read_toml(self._row.run.recipe_path))
        if self._history.poll():
            student = self._history.phases.get("student")
            metrics = student.metrics if student else {}
            # Copies, which the next poll leaves as they are.
            self._curves = {
                name: (tuple(series.x), tuple(series.y))
                for name, series in metrics.items()
            }
        return Compared(self._row.read(), self._curves, self._settings)


def metrics_of(runs: Iterable[Compared]) -> list[str]:
    """Return the metrics that any of the runs has, the accuracies first."""
    found = {name for run in runs for name in run.curves}
    first = [name for name in FIRST_METRICS if name in found]
    return first + sorted(found.difference(first))


def figures_table(runs: Sequence[Compared], baseline: Path | None) -> Table:
    """Return the final or best figures, in %.

    Runs that differ in their seed alone are followed by two rows: their mean, and
    the standard deviation (n - 1).

    Args:
        runs: in their order.
        baseline: folder of the run that the others' differences are to; None for none.
    """
    base = next((run.shares for run in runs if run.path == baseline), None)
    lines = [_line(run, base) for run in runs]
    for group in seed_groups([run.settings for run in runs]):
        lines += _group_lines([runs[position] for position in group], base)
    changes = [f"Δ {name}" for name in FIGURES] if base else []
    header = ["run", *FIGURES, *changes, "of", "epoch", "time", "state"]
    return Table(header, lines, {*FIGURES, *changes, "time"})


def _line(run: Compared, base: Shares | None) -> list[str]:
    row, score = run.row, run.row.score
    about = [score.origin if score else "-", row.progress or "-"]
    about += [duration(row.seconds), row.state]
    return [row.name, *_cells(run.shares, base), *about]


def _group_lines(runs: Sequence[Compared], base: Shares | None) -> list[list[str]]:
    columns = [
        [share for share in shares if share is not None]
        for shares in zip(*(run.shares for run in runs), strict=True)
    ]
    if min(map(len, columns)) < 2:
        return []
    means = [statistics.mean(column) for column in columns]
    deviations = [f"{100 * statistics.stdev(column):.2f}" for column in columns]
    method, count = runs[0].row.method, len(runs)
    unsaid = ["-"] * 4
    empty = ["-"] * len(FIGURES) if base else []
    return [
        [f"{method}, mean of {count}", *_cells(means, base), *unsaid],
        [f"{method}, ± of {count}", *deviations, *empty, *unsaid],
    ]


def _cells(shares: Shares, base: Shares | None) -> list[str]:
    cells = [percent(share) for share in shares]
    if base:
        cells += [points(*pair) for pair in zip(shares, base, strict=True)]
    return cells


def settings_table(runs: Sequence[Compared]) -> Table:
    """Return the settings that are not the same in all runs, a column a run."""
    found = differing([run.settings for run in runs])
    rows = [[key, *values] for key, values in found.items()]
    return Table(["setting", *(run.row.name for run in runs)], rows)
