"""Many runs in one table: one row per setting, with mean and deviation over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kmtard.runs.documents import number
from kmtard.runs.files import RunError
from kmtard.runs.folder import Run, each_once
from kmtard.runs.formats import ABSENT, mean_and_deviation, radius_text
from kmtard.runs.notes import read_notes
from kmtard.runs.result_tables import w_robust_heading
from kmtard.runs.results import Results, read_results
from kmtard.runs.settings import distinctions, radius_of, read_settings, seed_groups
from kmtard.runs.tables import Table

WORDS = ("data", "student", "method")
KEYS = ("data.name", "student.network", "method.name")


@dataclass(frozen=True)
class Group:
    """Runs that differ only in their seeds.

    Attributes:
        data: name of the data set.
        student: name of the student's network.
        method: name of the training method.
        differs: the settings that distinguish these runs from other groups with the
            same method; empty if there is no other group.
        epsilon: radius of the attack that W-Robust accuracy is against; None if
            unknown.
        scores: column -> one value in [0, 1] per run.
        w_robust: W-Robust accuracy of each run, in [0, 1].
        tags: the user's tags of all runs, each once.
    """

    data: str
    student: str
    method: str
    differs: str
    epsilon: float | None
    scores: Mapping[str, Sequence[float]]
    w_robust: Sequence[float]
    tags: Sequence[str] = ()

    def text(self, column: str) -> str:
        """Return `mean ± deviation` in %, without the deviation for a single run."""
        return mean_and_deviation(self.scores.get(column, ()))


def collect(paths: Iterable[Path]) -> tuple[list[Group], list[str]]:
    """Read evaluated runs.

    Args:
        paths: folders. Those without a run.json are skipped.

    Returns:
        The groups, and one message for each run that is left out. The groups are sorted
        by radius, then by W-Robust accuracy, best first.
    """
    found: list[tuple[dict[str, str], Results]] = []
    tags: list[Sequence[str]] = []
    problems = []
    for path in each_once(paths):
        if not Run(path).info_path.exists():
            continue
        try:
            run = Run.open(path)
            found.append(_read(run))
        except RunError as error:
            problems.append(f"{path} is left out: {error}")
            continue
        try:
            tags.append(read_notes(run).tags)
        except RunError as error:
            problems.append(f"The tags of {path} are left out: {error}")
            tags.append(())
    # Accuracies on different images or at different radii are not averaged.
    facts = [(results.images, _epsilon(each, results)) for each, results in found]
    places = seed_groups([each for each, _ in found], facts)
    told = [_told(*found[positions[0]]) for positions in places]
    names = [tuple(each.get(key, "") for key in KEYS) for each in told]
    groups = []
    for name, positions in zip(names, places, strict=True):
        alike = [each for each, other in zip(told, names, strict=True) if other == name]
        mine = alike.index(_told(*found[positions[0]]))
        results = [found[position][1] for position in positions]
        epsilon = facts[positions[0]][1]
        group = _group(name, distinctions(alike)[mine], epsilon, results)
        given = sorted({tag for position in positions for tag in tags[position]})
        groups.append(replace(group, tags=given))
    return sorted(groups, key=_rank), problems


def _epsilon(settings: Mapping[str, str], results: Results) -> float | None:
    score = results.student.robust
    found = number(score.epsilon) if score else None
    return radius_of(settings) if found is None else found


def _told(settings: Mapping[str, str], results: Results) -> dict[str, str]:
    """Return a run's settings and number of images, without the radius.

    The radius has its own column.
    """
    told = {**settings, "images": str(results.images or ABSENT)}
    told.pop("evaluation.epsilon", None)
    if radius_of(told) == _epsilon(settings, results):
        del told["attack.epsilon"]
    return told


def _rank(group: Group) -> tuple[float, float]:
    epsilon = math.inf if group.epsilon is None else group.epsilon
    return epsilon, -statistics.mean(group.w_robust)


def _read(run: Run) -> tuple[dict[str, str], Results]:
    settings = read_settings(run)
    if not settings:
        raise RunError("its recipe.toml is empty or not valid TOML")
    if not run.evaluation_path.is_file():
        raise RunError("it has no evaluation.json, so it has not finished")
    results = read_results(run.path)
    if results.student.w_robust is None:
        raise RunError("its evaluation.json has no attack on the student")
    return settings, results


def _group(
    names: tuple[str, ...],
    differs: str,
    epsilon: float | None,
    found: Sequence[Results],
) -> Group:
    data, student, method = names
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
    return Group(data, student, method, differs, epsilon, scores | last, w_robust)


def groups_table(groups: Sequence[Group]) -> Table:
    """Return one row per group: mean and deviation of each accuracy in %.

    A column "settings" is added if groups of one method differ in other settings, a
    column "radius" if the radii differ, and a column "tags" if runs have tags.
    """
    has_settings = any(group.differs for group in groups)
    has_tags = any(group.tags for group in groups)
    names = dict.fromkeys(name for group in groups for name in group.scores)
    last = [name for name in names if name.startswith(w_robust_heading(None))]
    columns = [*(name for name in names if name not in last), *last]
    radii = [radius_text(group.epsilon) or ABSENT for group in groups]
    has_radius = len(set(radii)) > 1
    rows = [
        [
            *(group.data, group.student, group.method),
            *([group.differs or ABSENT] if has_settings else []),
            *([" ".join(group.tags) or ABSENT] if has_tags else []),
            *([radius] if has_radius else []),
            str(len(group.w_robust)),
            *map(group.text, columns),
        ]
        for group, radius in zip(groups, radii, strict=True)
    ]
    numbers = [*(["radius"] if has_radius else []), "runs", *columns]
    notes = ["%; mean ± standard deviation over the seeds"]
    words = [*WORDS, *(["settings"] if has_settings else [])]
    words += ["tags"] if has_tags else []
    return Table([*words, *numbers], rows, numbers, notes=notes)


def without_shared(table: Table) -> Table:
    """Return the table with data and student in its title if all rows share them."""
    shared = [place for place in (0, 1) if len({row[place] for row in table.rows}) == 1]

    def rest(cells: Sequence[str]) -> list[str]:
        return [cell for place, cell in enumerate(cells) if place not in shared]

    title = ", ".join(table.rows[0][place] for place in shared)
    rows = [rest(row) for row in table.rows]
    return replace(table, header=rest(table.header), rows=rows, title=title)
