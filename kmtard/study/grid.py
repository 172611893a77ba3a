"""The cells of a study: every method with every setting and every seed."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import tomlkit

from kmtard.recipe import (
    Mistake,
    Recipe,
    RecipeError,
    foreign_reason,
    load,
    named_code,
    settings_key,
)
from kmtard.recipe.overrides import parse
from kmtard.recipe.schema import Study
from kmtard.registry import canonical, nearest
from kmtard.runs.queue.task import Task
from kmtard.study.named import PAPER_METHODS
from kmtard.training.teachers import check_weights, trained_instead

METHOD_KEYS = ("method", "method.name")
# Keys that are equal in all cells of a study, or that have an option of their own.
NO_AXES = {
    "method": "give the methods with `methods` or --methods",
    "method.name": "give the methods with `methods` or --methods",
    "runtime.seed": "give the seeds with `seeds` or --seeds",
    "runtime.runs_dir": "all runs of a study are in one folder",
    "runtime.devices": "the devices change no result; set them for all runs",
    "runtime.processes": "the processes change no result; set them for all runs",
    "runtime.threads": "the threads change results by rounding only; set them "
    "for all runs",
    "study": "a study cannot contain another study",
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a study.

    Attributes:
        parts: method, settings and seed: `("b_mtard", "attack.steps=2", "s0")`.
        path: the recipe's file.
        method: the method for `kmtard fit`; None for the recipe's own.
        overrides: `table.key=value` each, as for `--set`.
        smoke: whether it is a smoke test.
        recipe: the resolved recipe.
        key: the hash of the settings, and the seed. Runs with this key belong to it.
        trust: whether the user gave `--trust` on the command line.
        imports: modules that the user gave with `--import`.
    """

    parts: tuple[str, ...]
    path: str
    method: str | None
    overrides: tuple[str, ...]
    smoke: bool
    recipe: Recipe = field(repr=False)
    key: str
    trust: bool = False
    imports: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The parts of the cell, separated by commas."""
        return ",".join(self.parts)

    @property
    def task(self) -> Task:
        """The queue's task that trains the cell."""
        return Task.fit(
            self.path,
            method=self.method,
            overrides=self.overrides,
            smoke=self.smoke,
            trust=self.trust,
            imports=self.imports,
        )

    def resume(self, run: Path) -> Task:
        """Return what a queue does to resume a run of it."""
        return Task.resume(run, trust=self.trust, imports=self.imports)

    def matches(self, pattern: str) -> bool:
        """Return whether a shell pattern matches its name or one of its parts."""
        return any(fnmatchcase(each, pattern) for each in (self.name, *self.parts))


@dataclass(frozen=True)
class _Setting:
    """A combination of the axes, or a named cell."""

    name: str
    values: Mapping[str, Any]

    @property
    def method(self) -> str | None:
        return next((self.values[k] for k in METHOD_KEYS if k in self.values), None)

    @property
    def overrides(self) -> tuple[str, ...]:
        rest = {k: v for k, v in self.values.items() if k not in METHOD_KEYS}
        return tuple(f"{key}={toml_value(value)}" for key, value in rest.items())

    @property
    def parts(self) -> tuple[str, ...]:
        if self.name:
            return (self.name,)
        return tuple(f"{key}={_shown(value)}" for key, value in self.values.items())


def cells_of(
    path: str,
    study: Study,
    *,
    overrides: Sequence[str] = (),
    smoke: bool = False,
    trust: bool = False,
    imports: Sequence[str] = (),
) -> list[Cell]:
    """Return the cells of a study, each loaded and checked.

    Cells with equal recipes are merged into one cell. This happens when an axis changes
    an option that a method does not use.

    Args:
        path: the recipe's file.
        study: the grid.
        overrides: as for `--set`, for every cell. A cell's own values take precedence.
        smoke: whether to shorten each run to about a minute.
        trust: whether the user trusts the code that somebody else's recipe names.
        imports: modules that the user gave with `--import`, already allowed.

    Raises:
        RecipeError: lists all mistakes of the study and of its cells.

    Example:
        >>> study = Study(methods=("sat", "trades"), seeds=(0, 1))
        >>> [cell.name for cell in cells_of("recipes/digits.toml", study)]
        ['sat,s0', 'trades,s0', 'sat,s1', 'trades,s1']
    """
    foreign = None if trust else foreign_reason(path)
    base = load(path, overrides=overrides, foreign=foreign)
    mistakes = list(_mistakes(study, path))
    if mistakes:
        raise RecipeError(path, mistakes)
    cells: dict[str, Cell] = {}
    used = [False] * len(study.exclude)
    # One seed after the other, so that the first complete table is available early.
    for seed in study.seeds or (base.runtime.seed,):
        for method, setting in _points(study, path):
            facts = _facts(method or base.method.name, seed, setting)
            hits = [_agrees(each, facts) for each in study.exclude]
            used = [any(pair) for pair in zip(used, hits, strict=True)]
            if any(hits):
                continue
            try:
                cell = _cell(path, method, setting, seed, overrides, smoke, foreign)
                granted = replace(cell, trust=trust, imports=tuple(imports))
                cells.setdefault(cell.key, granted)
            except RecipeError as error:
                mistakes += [_in_cell(each, setting) for each in error.mistakes]
    mistakes += [
        Mistake("study.exclude", "no cell matches this entry", dict(each), place=path)
        for each, was_used in zip(study.exclude, used, strict=True)
        if not was_used
    ]
    if mistakes:
        # A mistake in a setting that all cells share is reported once.
        raise RecipeError(path, {str(each): each for each in mistakes}.values())
    if not cells:
        message = "all cells are excluded"
        raise RecipeError(path, [Mistake("study.exclude", message, place=path)])
    return list(cells.values())


def chosen_cells(cells: Sequence[Cell], patterns: Sequence[str]) -> list[Cell]:
    """Return the cells that match any of the patterns; all cells without patterns.

    Raises:
        ValueError: a pattern matches no cell.
    """
    for pattern in patterns:
        if not any(cell.matches(pattern) for cell in cells):
            known = list(dict.fromkeys(part for cell in cells for part in cell.parts))
            near = nearest(pattern, known)
            hint = f"Did you mean {near}?" if near else f"Parts: {', '.join(known)}."
            raise ValueError(
                f"--only: expected the name of a cell, a part of one such as a method, "
                f"or a pattern with *. Received: {pattern!r}. {hint}"
            )
    if not patterns:
        return list(cells)
    return [cell for cell in cells if any(map(cell.matches, patterns))]


def refuse_missing_weights(cells: Sequence[Cell]) -> None:
    """Refuse cells whose teachers are read from missing files.

    Raises:
        RecipeError: a file is missing; the error says which, and where to get it.
    """
    mistakes: dict[str, Mistake] = {}
    for cell in cells:
        try:
            check_weights(cell.recipe, f"{cell.path}, cell {cell.name}")
        except RecipeError as error:
            for each in error.mistakes:
                mistakes.setdefault(f"{each.key}={each.value}", each)
    if mistakes:
        raise RecipeError(cells[0].path, mistakes.values())


def run_key(recipe: Recipe) -> str:
    """Return the key that equal runs share: the hash of the settings, and the seed."""
    return f"{settings_key(recipe)}-s{recipe.runtime.seed}"


def axis_of(text: str) -> tuple[str, Any]:
    """Return key and value of `--axis`. The value is TOML or plain text.

    Raises:
        ValueError: the text is not `KEY=VALUE`.

    Example:
        >>> axis_of("attack.steps=7")
        ('attack.steps', 7)
    """
    for override in parse([text], {})[0]:
        return override.key, override.value
    raise ValueError(f"--axis: expected KEY=VALUE. Received: {text!r}")


def toml_value(value: Any) -> str:
    """Return a value as TOML on one line.

    Example:
        >>> toml_value({"width": 8})
        '{width = 8}'
    """
    array = tomlkit.array()
    array.append(value)
    return array.as_string()[1:-1]


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else toml_value(value)


def _points(study: Study, path: str) -> Iterator[tuple[str | None, _Setting]]:
    """Yield each method with each setting; a named cell may have its own method."""
    methods: list[str | None] = []
    for name in study.methods:
        if name == "paper":
            methods += PAPER_METHODS
        else:
            methods += _recipe_methods(path) if name == "all" else [name]
    for setting in _settings(study):
        own = [setting.method] if setting.method else methods or [None]
        for method in dict.fromkeys(own):
            yield method, setting


def _recipe_methods(path: str) -> list[str]:
    with open(path, "rb") as file:
        tables = tomllib.load(file).get("methods", {})
    return [canonical("methods", name) for name in tables]


def _settings(study: Study) -> list[_Setting]:
    """Return the settings that are combined with methods and seeds.

    If there are named cells but no axes, these are only the named cells.
    """
    named = [_Setting(name, values) for name, values in study.cells.items()]
    if named and not study.axes:
        return named
    combined = itertools.product(*study.axes.values())
    grid = [_Setting("", dict(zip(study.axes, each, strict=True))) for each in combined]
    return [*grid, *named]


def _mistakes(study: Study, path: str) -> Iterator[Mistake]:
    for key in study.axes:
        yield from _no_axis(f"study.axes.{key}", key, path)
    for name, values in study.cells.items():
        for key in values:
            if key not in METHOD_KEYS:
                yield from _no_axis(f"study.cells.{name}.{key}", key, path)
    known = ["method", "seed", "cell", *study.axes]
    for each in study.exclude:
        for key in each:
            if key not in known:
                message = "expected method, seed, cell or an axis"
                near = nearest(key, known)
                yield Mistake(
                    f"study.exclude.{key}",
                    message,
                    each[key],
                    tuple(known),
                    near,
                    place=path,
                )


def _no_axis(where: str, key: str, path: str) -> Iterator[Mistake]:
    for refused, reason in NO_AXES.items():
        if key == refused or (refused == "study" and key.startswith("study.")):
            yield Mistake(where, f"cannot be an axis: {reason}", place=path)


def _facts(method: str, seed: int, setting: _Setting) -> dict[str, Any]:
    facts = {"method": canonical("methods", method), "seed": seed}
    return facts | ({"cell": setting.name} if setting.name else dict(setting.values))


def _agrees(excluded: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    wanted = dict(excluded)
    if isinstance(wanted.get("method"), str):
        wanted["method"] = canonical("methods", wanted["method"])
    return all(facts.get(key) == value for key, value in wanted.items())


def _cell(
    path: str,
    method: str | None,
    setting: _Setting,
    seed: int,
    overrides: Sequence[str],
    smoke: bool,
    foreign: str | None,
) -> Cell:
    every = (*overrides, *setting.overrides, f"runtime.seed={seed}")
    recipe = load(path, method=method, overrides=every, smoke=smoke, foreign=foreign)
    if foreign is not None:
        _refuse_code(recipe, path, foreign)
    if smoke:
        recipe = trained_instead(recipe)
    name = recipe.method.name.rpartition(":")[2]
    return Cell(
        parts=(name, *setting.parts, f"s{seed}"),
        path=path,
        method=method,
        overrides=every,
        smoke=smoke,
        recipe=recipe,
        key=run_key(recipe),
    )


def _refuse_code(recipe: Recipe, path: str, reason: str) -> None:
    """Refuse code in `[study]` of a recipe from an unknown author.

    The cells pass it to the runs as command-line options, which the runs would trust as
    the user's own.
    """
    mistakes = [
        Mistake(
            key,
            f"this names code, and the recipe may not be yours: {reason}. Read the "
            "code. If you trust it, give --trust on the command line",
            name,
            place=path,
        )
        for key, name in named_code(tomllib.loads(recipe.to_toml()))
    ]
    if mistakes:
        raise RecipeError(path, mistakes)


def _in_cell(mistake: Mistake, setting: _Setting) -> Mistake:
    if mistake.place != "--set" or not setting.parts:
        return mistake
    own = any(
        mistake.key.startswith(key) or key.startswith(mistake.key)
        for key in setting.values
    )
    place = f"study cell {','.join(setting.parts)}"
    return replace(mistake, place=place) if own else mistake
