"""The input of a report: runs grouped by setting, and settings grouped by data."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from kmtard.registry import METHODS, canonical, label
from kmtard.report import paper
from kmtard.runs.documents import number
from kmtard.runs.files import RunError
from kmtard.runs.folder import Run, each_once, list_runs
from kmtard.runs.formats import radius_text
from kmtard.runs.history import History
from kmtard.runs.notes import read_notes
from kmtard.runs.results import NetworkResults, Results, Score, read_all
from kmtard.runs.settings import distinctions, radius_of, read_settings, seed_groups
from kmtard.runs.studies import StudyFolder

CLEAN = "clean"
LARGEST = 1e30
NOT_SETTINGS = ("evaluation.epsilon", "attack.epsilon")


@dataclass(frozen=True, eq=False)
class Measured:
    """One run with everything that a report shows about it.

    Attributes:
        run: the run.
        settings: flat settings of its recipe.
        results: the record of its own evaluation; None if it has none.
        others: records under other conditions, such as another radius.
        history: its events.
    """

    run: Run
    settings: Mapping[str, str]
    results: Results | None
    others: Sequence[Results]
    history: History

    @property
    def seed(self) -> str:
        """The seed in the recipe."""
        return self.settings.get("runtime.seed", "")

    @property
    def student(self) -> NetworkResults | None:
        """Results of the student; None if the run was not evaluated."""
        return self.results.student if self.results else None

    @property
    def epsilon(self) -> float | None:
        """Radius of the attack that W-Robust accuracy is against; None if unknown."""
        score = self.student.robust if self.student else None
        found = number(score.epsilon) if score else None
        return radius_of(self.settings) if found is None else found

    @property
    def scores(self) -> Mapping[str, Score]:
        """Column -> the student's score: clean, and each attack."""
        if self.student is None:
            return {}
        return {CLEAN: self.student.clean, **self.student.attacks}

    @cached_property
    def info(self) -> Mapping[str, Any]:
        """The content of run.json."""
        return self.run.info()

    @cached_property
    def tags(self) -> Sequence[str]:
        """The user's tags; none if a newer version of kmtard wrote them."""
        with contextlib.suppress(RunError):
            return read_notes(self.run).tags
        return ()

    @cached_property
    def state(self) -> str:
        """The state of the run, as `Run.state` returns it."""
        try:
            return self.run.state()
        # A damaged run.json can hold a process number that is too large.
        except (OSError, OverflowError):
            return "damaged"


@dataclass(frozen=True, eq=False)
class Setting:
    """Runs that differ only in their seed.

    Attributes:
        label: name of the row: the method, and the settings that distinguish it.
        method: name of the method in snake_case.
        members: the runs.
    """

    label: str
    method: str
    members: Sequence[Measured]

    @property
    def settings(self) -> Mapping[str, str]:
        """Flat settings of the first run."""
        return self.members[0].settings

    @property
    def epsilon(self) -> float | None:
        """Radius of the headline attack; None if unknown."""
        return self.members[0].epsilon

    @property
    def headline(self) -> str | None:
        """The attack that W-Robust accuracy is against; None without an attack."""
        student = self.members[0].student
        return student.headline if student else None

    @property
    def tags(self) -> Sequence[str]:
        """The user's tags of all runs, each once."""
        return sorted({tag for each in self.members for tag in each.tags})

    @property
    def w_robust(self) -> list[float]:
        """W-Robust accuracy against the headline attack, one value per run."""
        return self.shares(self.headline or "", "w_robust")

    def shares(self, column: str, metric: str = "accuracy") -> list[float]:
        """Return one value in [0, 1] per run that has the column.

        Args:
            column: `clean` or an attack.
            metric: `accuracy` or `w_robust`.
        """
        scores = (each.scores.get(column) for each in self.members)
        values = (getattr(each, metric) for each in scores if each is not None)
        return [value for value in values if value is not None]

    def having(self, column: str) -> Setting:
        """Return the row with only the runs that have a column."""
        return replace(self, members=[r for r in self.members if column in r.scores])

    def last(self, metric: str) -> list[float]:
        """Return the value of a training metric after the last epoch, per run."""
        found = []
        for each in self.members:
            student = each.history.phases.get("student")
            series = student.metrics.get(metric) if student else None
            value = series.last if series else None
            if value is not None and is_plausible(value):
                found.append(value)
        return found

    def paper(self, bench: Bench, attack: str, metric: str) -> paper.Number | None:
        """Return the paper's number for a cell of this row, or None."""
        if self.epsilon is None or abs(self.epsilon - paper.EPSILON) > 1e-4:
            return None
        norms = (
            self.settings.get(f"{key}.norm", "linf") for key in ("attack", "evaluation")
        )
        if any(norm not in ("linf", "null") for norm in norms):
            return None
        about = bench.data, bench.student, self.method, attack, metric
        return paper.number(*about, settings=self.settings)


@dataclass(frozen=True, eq=False)
class Bench:
    """The settings for one data set and one student network.

    Attributes:
        data: name of the data set.
        student: name of the student's network.
        settings: the rows, in the order of the registry's methods.
    """

    data: str
    student: str
    settings: Sequence[Setting]

    @property
    def title(self) -> str:
        """Data set and student, such as `cifar10, resnet18`."""
        return ", ".join(filter(None, (self.data, self.student)))

    @property
    def evaluated(self) -> Sequence[Setting]:
        """The settings with results."""
        return [each for each in self.settings if each.shares(CLEAN)]

    def look(self, setting: Setting) -> int:
        """Return the number of a row's color and marker, the same in all drawings."""
        return list(self.settings).index(setting)

    @property
    def attacks(self) -> list[str]:
        """All attacks that were run on a student, each once."""
        found = (
            name
            for each in self.settings
            for run in each.members
            for name in run.scores
        )
        return [name for name in dict.fromkeys(found) if name != CLEAN]

    @property
    def headline(self) -> str | None:
        """The headline attack of the first evaluated setting."""
        return next((each.headline for each in self.evaluated if each.headline), None)

    def fit_command(self, method: str) -> str:
        """Return the command that trains another method for this data and student."""
        return command("fit", self._recipe, "--method", method)

    @property
    def _recipe(self) -> str:
        for setting in self.settings:
            for run in setting.members:
                argv = run.info.get("argv")
                for each in argv if isinstance(argv, list) else ():
                    if isinstance(each, str) and each.endswith(".toml"):
                        return each
        ending = "_mobilenet_v2" if self.student == "mobilenet_v2" else ""
        return f"recipes/{self.data}{ending}.toml"


@dataclass(frozen=True, eq=False)
class Source:
    """The input of a report.

    Attributes:
        benches: one per data set and student.
        problems: messages about runs and records that cannot be read.
        gaps: one text per study with cells that were not trained yet.
    """

    benches: Sequence[Bench]
    problems: Sequence[str] = ()
    gaps: Sequence[str] = ()

    @property
    def runs(self) -> list[Measured]:
        """All runs, in the order of the rows."""
        return [
            run
            for bench in self.benches
            for setting in bench.settings
            for run in setting.members
        ]

    @property
    def settings(self) -> list[tuple[Bench, Setting]]:
        """All settings with their bench."""
        return [(bench, each) for bench in self.benches for each in bench.settings]


def command(*words: str) -> str:
    """Return a `kmtard` command line, quoted for a shell.

    Example:
        >>> command("evaluate", "my runs/a")
        "kmtard evaluate 'my runs/a'"
    """
    return shlex.join(("kmtard", *words))


def run_folders(
    paths: Iterable[Path], *, finished: bool = False
) -> tuple[list[Path], list[str]]:
    """Return the folders of all runs that paths refer to.

    Args:
        paths: folders of runs or studies, or folders that contain runs.
        finished: whether a study refers only to its finished runs.

    Returns:
        The folders, and one message per path that does not exist.
    """
    found: list[Path] = []
    problems = []
    for path in paths:
        if not path.is_dir():
            problems.append(
                f"Expected the folder of a run or of a study, or a folder of runs. "
                f"Received: {path}, which is not a folder."
            )
        elif StudyFolder(path).is_study():
            try:
                runs = [run for run in StudyFolder(path).runs() if run.is_dir()]
            except RunError as error:
                problems.append(str(error))
                continue
            found += [
                run for run in runs if not finished or Run(run).state() == "finished"
            ]
        elif Run(path).info_path.exists() or Run(path).recipe_path.exists():
            found.append(path)
        else:
            found += sorted(run.path for run in list_runs(path))
    return each_once(found), problems


def read(paths: Iterable[Path]) -> Source:
    """Read runs, and group those that differ only in their seed.

    Args:
        paths: as in `run_folders`.
    """
    paths = list(paths)
    folders, problems = run_folders(paths)
    runs = []
    for folder in folders:
        try:
            run, found = _read(Run.open(folder))
        except RunError as error:
            problems.append(f"{folder} is left out: {error}")
            continue
        runs.append(run)
        problems += found
    return Source(_benches(runs), problems, _open_cells(paths))


def _open_cells(paths: Iterable[Path]) -> list[str]:
    gaps = []
    for path in paths:
        with contextlib.suppress(RunError):
            study = StudyFolder(path)
            record = study.read() if study.is_study() else None
            if record and (cells := [c.name for c in record.cells if c.run is None]):
                gaps.append(
                    f"{len(cells)} of {len(record.cells)} cells of the study "
                    f"{record.name} have no run, such as {cells[0]}. Repeat the "
                    "study's `kmtard study` command to train them."
                )
    return gaps


def _read(run: Run) -> tuple[Measured, list[str]]:
    settings = read_settings(run)
    if not settings:
        raise RunError("its recipe.toml is empty or not valid TOML.")
    history = History(run)
    history.poll()
    records, problems = read_all(run.path)
    own = records[0] if records and records[0].path == run.evaluation_path else None
    others = records[1:] if own else records
    # A file of version 0.1 can hold two records: a table, and an evaluation.
    if own and others and others[0].path == own.path:
        own, others = _merged(own, others[0]), others[1:]
    return Measured(run, settings, own, others, history), problems


def _merged(first: Results, second: Results) -> Results:
    student = first.student
    attacks = {**student.attacks, **second.student.attacks}
    merged = replace(student, attacks=attacks, clean=second.student.clean)
    networks = [merged if each is student else each for each in first.networks]
    return replace(first, networks=tuple(networks), labels=second.labels)


def _benches(runs: Sequence[Measured]) -> list[Bench]:
    groups = [
        group
        for places in seed_groups([run.settings for run in runs])
        for group in _comparable([runs[place] for place in places])
    ]
    about: dict[tuple[str, str], list[list[Measured]]] = {}
    for members in groups:
        settings = members[0].settings
        key = settings.get("data.name", ""), settings.get("student.network", "")
        about.setdefault(key, []).append(members)
    return [Bench(*key, _settings(found)) for key, found in about.items()]


def _comparable(runs: Sequence[Measured]) -> list[list[Measured]]:
    """Split the runs of one setting into groups that may be averaged.

    Accuracies on different images or at different radii must not be averaged. A run
    that was not evaluated is in the first group, because only its curves are shown.
    """
    groups: dict[tuple[object, ...], list[Measured]] = {}
    for run in runs:
        if run.results:
            key = run.results.images, run.results.data, run.epsilon
            groups.setdefault(key, []).append(run)
    without = [run for run in runs if run.results is None]
    if without:
        first = next(iter(groups), ())
        groups.setdefault(first, []).extend(without)
    return list(groups.values())


def _settings(groups: Sequence[Sequence[Measured]]) -> list[Setting]:
    methods = [members[0].settings.get("method.name", "") for members in groups]
    told = [_told(members[0]) for members in groups]
    rows = []
    for members, method, mine in zip(groups, methods, told, strict=True):
        alike = [
            one for one, other in zip(told, methods, strict=True) if other == method
        ]
        differs = distinctions(alike)[alike.index(mine)]
        name = canonical("methods", method)
        rows.append(
            Setting(", ".join(filter(None, (label(name), differs))), name, members)
        )
    return sorted(rows, key=_order)


def _told(run: Measured) -> dict[str, str]:
    """Return the settings, images and radius that distinguish rows of one method."""
    told = {key: v for key, v in run.settings.items() if key not in NOT_SETTINGS}
    trained = run.settings.get("attack.epsilon")
    if (
        trained is not None
        and run.epsilon is not None
        and number_of(trained) != run.epsilon
    ):
        told["attack.epsilon"] = trained
    told["radius"] = radius_text(run.epsilon)
    if run.results:
        told["images"] = str(run.results.images)
    return told


def is_plausible(value: float) -> bool:
    """Return whether a metric can be averaged and drawn, unlike a damaged value."""
    return abs(value) < LARGEST


def number_of(text: str) -> float | None:
    """Return a text as a number; None if it is not a number.

    Example:
        >>> number_of("0.5"), number_of("8/255")
        (0.5, None)
    """
    try:
        return float(text)
    except ValueError:
        return None


def _order(setting: Setting) -> tuple[int, str]:
    names = list(METHODS)
    known = setting.method in names
    return names.index(setting.method) if known else len(names), setting.label
