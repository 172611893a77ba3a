"""Estimate what a study needs: runs, disk space and time."""

from __future__ import annotations

import statistics
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmtard.recipe import Recipe, named_code, settings_key
from kmtard.registry.roles import TEACHERS, Role
from kmtard.runs import Run, RunError
from kmtard.runs.formats import counted, duration
from kmtard.runs.history import History
from kmtard.runs.results import read_results
from kmtard.study.grid import Cell
from kmtard.study.measure import Measured, measured
from kmtard.study.progress import Status
from kmtard.training.teachers import cached_weights, needed_teachers

# Bytes of events, log, predictions and images. They do not depend on the networks.
REST = 2**20
BYTES = 4  # float32


@dataclass(frozen=True)
class Forecast:
    """What is left to do of a study.

    Attributes:
        left: number of runs to start or resume.
        teachers: number of teachers to train first, each once for all runs.
        size: bytes that will be written to disk; None if unknown.
        reason: why the size is unknown; empty if it is known.
        seconds: total training time of the runs and teachers whose time is known.
        unknown: number of runs whose time is unknown.
        unknown_teachers: number of teachers whose time is unknown.

    Example:
        >>> Forecast(2, 1, 3 * 10**9, "", 5400.0, 0).lines()[1]
        'Disk: about 3 GB'
    """

    left: int
    teachers: int
    size: int | None
    reason: str
    seconds: float
    unknown: int
    unknown_teachers: int = 0

    def lines(self, hint: str = "; --dry-run=measure measures it") -> list[str]:
        """Return the forecast as lines of text.

        Args:
            hint: the end of the line about a time that is unknown.
        """
        if not self.left:
            return ["Nothing is left to do."]
        size = self._size()
        teachers = counted(self.teachers, "teacher")
        return [
            f"Runs to do: {self.left}, and {teachers} to train first",
            f"Disk: {size}",
            f"Time, an estimate: {self._time(hint)}",
        ]

    def as_json(self) -> dict[str, Any]:
        """Return it for a program to read, with the texts for its user."""
        seconds = None if self.unknown or self.unknown_teachers else self.seconds
        return {
            "left": self.left,
            "teachers": self.teachers,
            "bytes": self.size,
            "seconds": seconds,
            "lines": self.lines(hint=""),
        }

    def _size(self) -> str:
        if self.size is None:
            return f"unknown: {self.reason}"
        return f"about {size_text(self.size)}"

    def _time(self, hint: str) -> str:
        known = self.left - self.unknown
        if not known:
            return f"unknown until the first runs finish{hint}"
        text = f"{duration(self.seconds)} of work for {counted(known, 'run')}"
        unknown = {"run": self.unknown, "teacher": self.unknown_teachers}
        parts = [counted(count, noun) for noun, count in unknown.items() if count]
        if parts:
            text += f", unknown for {' and '.join(parts)}{hint}"
        return text


def size_text(count: float) -> str:
    """Return a number of bytes as text.

    Example:
        >>> size_text(1.5e9)
        '1.5 GB'
    """
    units = {"GB": 1e9, "MB": 1e6}
    unit = next((name for name, size in units.items() if count >= size), "kB")
    return f"{count / units.get(unit, 1e3):.3g} {unit}"


def forecast(
    statuses: Sequence[Status],
    finished: Iterable[tuple[Cell, Run]] = (),
    *,
    trials: bool = False,
) -> Forecast:
    """Estimate the runs, disk space and time of the unfinished cells.

    Args:
        statuses: the state of each chosen cell.
        finished: finished cells of the study with their runs. Their times are the
            estimate for equal settings.
        trials: whether to measure a few steps of each training to estimate its time.

    Raises:
        RunError: a trial failed.
    """
    left = [each for each in statuses if each.state != "finished"]
    teachers = _teachers(each.cell for each in left)
    reason, found = "", dict[str, Measured]()
    try:
        found = _measured([each.cell for each in left], trials=trials)
    except RunError as error:
        if trials:
            raise
        reason = str(error)
    size = None if reason else _size(left, teachers, found)
    known = _Times(finished, found)
    times = [known.student(each.cell.recipe) for each in left]
    times += [known.teacher(recipe, role) for recipe, role in teachers.values()]
    return Forecast(
        left=len(left),
        teachers=len(teachers),
        size=size,
        reason=reason,
        seconds=sum(each or 0.0 for each in times),
        unknown=sum(each is None for each in times[: len(left)]),
        unknown_teachers=sum(each is None for each in times[len(left) :]),
    )


def _teachers(cells: Iterable[Cell]) -> dict[Path, tuple[Recipe, Role]]:
    """Return the teachers that must be trained, by their files."""
    found: dict[Path, tuple[Recipe, Role]] = {}
    for cell in cells:
        for role in needed_teachers(cell.recipe):
            if getattr(cell.recipe, role).train:
                file = cached_weights(cell.recipe, role)
                if not file.exists():
                    found[file] = (cell.recipe, role)
    return found


def _measured(cells: Sequence[Cell], *, trials: bool) -> dict[str, Measured]:
    """Return the sizes, and times if tried, of each cell's recipe, by its settings."""
    recipes = {settings_key(cell.recipe): cell.recipe for cell in cells}
    for cell in cells:
        if cell.trust:
            continue
        if code := named_code(tomllib.loads(cell.recipe.to_toml())):
            raise RunError(
                f"{code[0][0]} names your own code, which an estimate runs only with "
                "--trust"
            )
    imports = tuple({name: None for cell in cells for name in cell.imports})
    found: dict[str, Measured] = {}
    backends = {recipe.runtime.backend for recipe in recipes.values()}
    for backend in sorted(backends):
        group = {k: r for k, r in recipes.items() if r.runtime.backend == backend}
        asked = group if trials else _different_networks(group)
        answers = measured(list(asked.values()), trials=trials, imports=imports)
        answered = dict(zip(map(_networks, asked.values()), answers, strict=True))
        found |= {key: answered[_networks(recipe)] for key, recipe in group.items()}
        if trials:
            found |= dict(zip(group, answers, strict=True))
    return found


def _different_networks(recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
    different = {_networks(recipe): key for key, recipe in recipes.items()}
    return {key: recipes[key] for key in different.values()}


def _networks(recipe: Recipe) -> str:
    """Return all settings that the sizes of the networks depend on."""
    roles = ("student", *needed_teachers(recipe))
    parts: list[Any] = [recipe.data.name, recipe.data.directory]
    for role in roles:
        party = getattr(recipe, role)
        parts += [role, party.network, sorted(party.options.items())]
    return repr(parts)


def _size(
    left: Sequence[Status],
    teachers: Mapping[Path, tuple[Recipe, Role]],
    found: Mapping[str, Measured],
) -> int:
    total = 0
    for each in left:
        there = _folder_size(each.run) if each.run else 0
        known = found[settings_key(each.cell.recipe)]
        total += max(0, REST + _training_size(known, "student") - there)
    for recipe, role in teachers.values():
        known = found[settings_key(recipe)]
        # Kept in the run, and in the cache that all runs share.
        total += _training_size(known, role) + BYTES * known["values"][role]
    return total


def _training_size(known: Measured, role: str) -> int:
    """Return the bytes of two resume points with optimizer state, and the best model.

    A resume point holds the weights and two values per trained weight.
    """
    return BYTES * (3 * known["values"][role] + 2 * known["trained"][role])


def _folder_size(run: Run) -> int:
    return sum(file.lstat().st_size for file in run.path.rglob("*") if file.is_file())


class _Times:
    """Seconds of trainings, from finished runs and from trials.

    Args:
        finished: finished runs. Runs with equal settings take equally long.
        found: what the trials measured, by settings.
    """

    def __init__(
        self, finished: Iterable[tuple[Cell, Run]], found: Mapping[str, Measured]
    ) -> None:
        self._found = found
        self._students: dict[str, list[float]] = {}
        self._teachers: dict[str, list[float]] = {}
        for cell, run in finished:
            self._read(cell.recipe, run)

    def student(self, recipe: Recipe) -> float | None:
        """Return the seconds of a run without its teachers; None if unknown."""
        key = settings_key(recipe)
        if key in self._students:
            return statistics.mean(self._students[key])
        return (
            self._found[key]["seconds"].get("student") if key in self._found else None
        )

    def teacher(self, recipe: Recipe, role: Role) -> float | None:
        """Return the seconds of a teacher's training; None if unknown."""
        known = self._teachers.get(_training_text(recipe, role))
        if known:
            return statistics.mean(known)
        key = settings_key(recipe)
        return self._found[key]["seconds"].get(role) if key in self._found else None

    def _read(self, recipe: Recipe, run: Run) -> None:
        history = History(run, in_detail=False)
        history.poll()
        seconds = history.worked()
        try:
            networks = {each.role: each for each in read_results(run.path).networks}
        except RunError:
            return
        for role in TEACHERS:
            spent = networks[role].seconds if role in networks else None
            if spent is not None:
                seconds -= spent
                text = _training_text(recipe, role)
                self._teachers.setdefault(text, []).append(spent)
        if seconds > 0:
            self._students.setdefault(settings_key(recipe), []).append(seconds)


def _training_text(recipe: Recipe, role: Role) -> str:
    return repr((recipe.training(role), recipe.data))
