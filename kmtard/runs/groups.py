"""Many runs in one table: one row per setting, with mean and deviation over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kmtard.runs.files import RunError
from kmtard.runs.folder import Run
from kmtard.runs.formats import mean_and_deviation
from kmtard.runs.result_tables import w_robust_heading
from kmtard.runs.results import Results, read_results
from kmtard.runs.settings import read_settings, seed_groups
from kmtard.runs.tables import Table

WORDS = ("data", "student", "method")
KEYS = ("data.name", "student.network", "method.name")


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seeds alone.

    Attributes:
        data: data set.
        student: network.
        method: training method.
        settings: number of different settings of this method that came before: groups
            of one name differ in more than their seeds.
        scores: column -> one value in [0, 1] per run.
        w_robust: W-Robust accuracy of each run, in [0, 1].
    """

    data: str
    student: str
    method: str
    settings: int
    scores: Mapping[str, Sequence[float]]
    w_robust: Sequence[float]

    @property
    def label(self) -> str:
        """The method, numbered where its runs differ in their settings."""
        return self.method + (f" ({self.settings + 1})" if self.settings else "")

    def text(self, column: str) -> str:
        """Return mean and deviation in %, the latter if there are several runs."""
        return mean_and_deviation(self.scores.get(column, ()))


def collect(paths: Iterable[Path]) -> tuple[list[Group], list[str]]:
    """Read evaluated runs.

    Args:
        paths: folders; those that are no runs at all are skipped.

    Returns:
        The groups, best W-Robust accuracy first, and one message for each run that is
        left out.
    """
    found: list[tuple[dict[str, str], Results]] = []
    problems = []
    for path in paths:
        if not Run(path).info_path.exists():
            continue
        try:
            found.append(_read(Run.open(path)))
        except RunError as error:
            problems.append(f"{path} is left out: {error}")
    groups: list[Group] = []
    settings = [each for each, _ in found]
    # Accuracies on different numbers of images have no common mean.
    images = [results.images for _, results in found]
    for positions in seed_groups(settings, images):
        data, student, method = (settings[positions[0]].get(key, "") for key in KEYS)
        names = (data, student, method)
        alike = sum((each.data, each.student, each.method) == names for each in groups)
        results = [found[place][1] for place in positions]
        groups.append(_group(data, student, method, alike, results))
    return sorted(groups, key=lambda each: -statistics.mean(each.w_robust)), problems


def _read(run: Run) -> tuple[dict[str, str], Results]:
    settings = read_settings(run)
    if not settings:
        raise RunError("its recipe.toml is empty or not valid TOML")
    if not run.evaluation_path.is_file():
        raise RunError("it has no evaluation.json, so it has not finished")
    results = read_results(run.path)
    if results.student.w_robust is None:
        raise RunError("its evaluation.json holds no attack on the student")
    return settings, results


def _group(
    data: str, student: str, method: str, settings: int, found: Sequence[Results]
) -> Group:
    scores: dict[str, list[float]] = {}
    last: dict[str, list[float]] = {}
    w_robust = []
    for results in found:
        network = results.student
        scores.setdefault("clean", []).append(network.clean.accuracy)
        for name, score in network.attacks.items():
            scores.setdefault(name, []).append(score.accuracy)
        value = network.w_robust or 0.0
        w_robust.append(value)
        last.setdefault(w_robust_heading(network.headline), []).append(value)
    return Group(data, student, method, settings, scores | last, w_robust)


def groups_table(groups: Sequence[Group]) -> Table:
    """Return one row per group: mean and deviation of each accuracy in %."""
    names = dict.fromkeys(name for group in groups for name in group.scores)
    last = [name for name in names if name.startswith(w_robust_heading(None))]
    columns = [*(name for name in names if name not in last), *last]
    rows = [
        [
            *(group.data, group.student, group.label, str(len(group.w_robust))),
            *map(group.text, columns),
        ]
        for group in groups
    ]
    numbers = ["runs", *columns]
    notes = ["%; mean ± standard deviation over the seeds"]
    return Table([*WORDS, *numbers], rows, numbers, notes=notes)


def without_shared(table: Table) -> Table:
    """Return the table with data and student as its title where all rows share them."""
    shared = [place for place in (0, 1) if len({row[place] for row in table.rows}) == 1]

    def rest(cells: Sequence[str]) -> list[str]:
        return [cell for place, cell in enumerate(cells) if place not in shared]

    title = ", ".join(table.rows[0][place] for place in shared)
    rows = [rest(row) for row in table.rows]
    return replace(table, header=rest(table.header), rows=rows, title=title)
