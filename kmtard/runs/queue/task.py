"""The tasks of a queue: train a recipe, resume a run, or evaluate a run."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ACTIONS = ("fit", "resume", "evaluate")
PYTHON = re.compile(r"(.*/)?python[\d.]*", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task. Its command line is built when it starts.

    A queue's file holds tasks, not commands. So a person who can write the file cannot
    choose which program runs.

    Args:
        action: one of `ACTIONS`.
        target: the recipe for "fit", else the run's folder.
        method: the student's method, for "fit"; the recipe's method if None.
        overrides: texts of the form `table.key=value` as in TOML, for "fit".
        smoke: whether to use few images and two epochs, for "fit".
        attacks: names of attacks, for "evaluate"; the recipe's attacks if empty.
        suite: name of a set of attacks, for "evaluate".
        epsilons: radii such as "8/255", for "evaluate": robust accuracy over epsilon.
        trust: whether the user said `--trust` on the command line for it.
        imports: modules that the user named with `--import` on the command line.

    Raises:
        ValueError: the action is unknown, a value does not belong to the action, or a
            value looks like an option of the command line.

    Example:
        >>> Task.fit("recipes/digits.toml", smoke=True).command()[1:]
        ['-m', 'kmtard.fit', 'recipes/digits.toml', '--smoke']
    """

    action: str
    target: str
    method: str | None = None
    overrides: tuple[str, ...] = ()
    smoke: bool = False
    attacks: tuple[str, ...] = ()
    suite: str | None = None
    epsilons: tuple[str, ...] = ()
    trust: bool = False
    imports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(
                f"action: expected one of {', '.join(ACTIONS)}, "
                f"received {self.action!r}."
            )
        of_fit = self.method is not None or self.overrides or self.smoke
        of_evaluate = self.attacks or self.suite is not None or self.epsilons
        if (of_fit and self.action != "fit") or (
            of_evaluate and self.action != "evaluate"
        ):
            raise ValueError(
                f"Received settings that the action {self.action!r} does not accept. "
                "`method`, `overrides` and `smoke` belong to 'fit', `attacks`, "
                "`suite` and `epsilons` to 'evaluate'."
            )
        lists = (*self.overrides, *self.attacks, *self.epsilons, *self.imports)
        for word in (self.target, self.method, self.suite, *lists):
            if word is not None and (not word or word[0] == "-" or "\0" in word):
                raise ValueError(
                    "Expected a text that is not empty, does not begin with '-' and "
                    f"has no null character, received {word!r}."
                )
        for key in ("attacks", "epsilons"):
            if any("," in word for word in getattr(self, key)):
                raise ValueError(
                    f"{key}: expected texts without commas, received "
                    f"{getattr(self, key)!r}."
                )

    @classmethod
    def fit(
        cls,
        recipe: str | Path,
        *,
        method: str | None = None,
        overrides: Sequence[str] = (),
        smoke: bool = False,
        trust: bool = False,
        imports: Sequence[str] = (),
    ) -> Task:
        """Return the task that trains a recipe."""
        return cls(
            action="fit",
            target=_path(recipe),
            method=method,
            overrides=tuple(overrides),
            smoke=smoke,
            trust=trust,
            imports=tuple(imports),
        )

    @classmethod
    def resume(
        cls, run: str | Path, *, trust: bool = False, imports: Sequence[str] = ()
    ) -> Task:
        """Return the task that resumes a run."""
        return cls(
            action="resume", target=_path(run), trust=trust, imports=tuple(imports)
        )

    @classmethod
    def evaluate(
        cls,
        run: str | Path,
        *,
        attacks: Sequence[str] = (),
        suite: str | None = None,
        epsilons: Sequence[str] = (),
    ) -> Task:
        """Return the task that evaluates the best student of a run."""
        return cls(
            action="evaluate",
            target=_path(run),
            attacks=tuple(attacks),
            suite=suite,
            epsilons=tuple(epsilons),
        )

    def with_grants_of(self, other: Task) -> Task:
        """Return the task with the `--trust` and `--import` of another one."""
        return replace(self, trust=other.trust, imports=other.imports)

    def is_same_work(self, other: Task | None) -> bool:
        """Return whether both do the same, whatever code they are allowed to run."""
        return other is not None and self.with_grants_of(other) == other

    def command(self) -> list[str]:
        """Return the command line. It begins with the present Python interpreter."""
        return [*self._command(), *granting(self.imports, trust=self.trust)]

    def _command(self) -> list[str]:
        if self.action == "resume":
            return _module("kmtard.fit", "--resume", self.target)
        if self.action == "evaluate":
            command = _module("kmtard.evaluate", self.target)
            if self.attacks:
                command += ["--attacks", ",".join(self.attacks)]
            if self.epsilons:
                command += ["--epsilons", ",".join(self.epsilons)]
            return command if self.suite is None else [*command, "--suite", self.suite]
        command = _module("kmtard.fit", self.target)
        if self.method is not None:
            command += ["--method", self.method]
        for override in self.overrides:
            command += ["--set", override]
        return [*command, "--smoke"] if self.smoke else command

    def as_json(self) -> dict[str, Any]:
        """Return the task as it is stored in the queue's file."""
        values = asdict(self)
        # Without them, the task is as versions wrote and sealed it that had none.
        for name in OPTIONAL:
            if not values[name]:
                del values[name]
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }


def granting(imports: Sequence[str], *, trust: bool) -> list[str]:
    """Return the options of the command line that allow code to run."""
    words = [word for module in imports for word in ("--import", module)]
    return [*words, "--trust"] if trust else words


TYPES: Mapping[str, tuple[type, ...]] = {
    "action": (str,),
    "target": (str,),
    "method": (str, type(None)),
    "overrides": (list,),
    "smoke": (bool,),
    "attacks": (list,),
    "suite": (str, type(None)),
    "epsilons": (list,),
    "trust": (bool,),
    "imports": (list,),
}
OPTIONAL: Mapping[str, Any] = {"epsilons": [], "trust": False, "imports": []}
"""Keys that are left out where they have these values."""


def read_task(values: Any) -> Task:
    """Return the task that a JSON object describes.

    Raises:
        ValueError: it does not describe a task.
    """
    if isinstance(values, dict):
        values = {**OPTIONAL, **values}
    if not isinstance(values, dict) or values.keys() != TYPES.keys():
        raise ValueError(
            f"Expected a task with the keys {', '.join(TYPES)}, received {values!r}."
        )
    read = {}
    for name, types in TYPES.items():
        value = values[name]
        if type(value) not in types:
            allowed = " or ".join(each.__name__ for each in types)
            raise ValueError(f"{name}: expected {allowed}, received {value!r}.")
        if isinstance(value, list):
            if not all(type(word) is str for word in value):
                raise ValueError(f"{name}: expected texts, received {value!r}.")
            value = tuple(value)
        read[name] = value
    return Task(**read)


def task_of(argv: Sequence[str]) -> Task | None:
    """Return the task for a command line from a queue of version 0.1.

    Args:
        argv: the command line.

    Returns:
        The task whose `command` is equal to `argv`, apart from the Python interpreter;
        None if there is no such task.
    """
    if len(argv) < 4 or not PYTHON.fullmatch(argv[0]):
        return None
    try:
        task = _parsed(argv[1:3], argv[3:])
    except (ValueError, IndexError):
        return None
    if task is None or task.command()[1:] != list(argv[1:]):
        return None
    return task


def _parsed(module: Sequence[str], words: Sequence[str]) -> Task | None:
    name = module[1].removeprefix("kmtard.")
    if name == "fit" and words[0] == "--resume":
        return Task.resume(words[1])
    if name not in ("fit", "evaluate"):
        return None
    given: dict[str, list[str]] = {}
    rest = list(words[1:])
    smoke = "--smoke" in rest[-1:]
    if smoke:
        rest.pop()
    for option, value in zip(rest[::2], rest[1::2], strict=True):
        given.setdefault(option, []).append(value)
    method, suite, attacks = (
        given.get(option, [None])[0] for option in ("--method", "--suite", "--attacks")
    )
    return Task(
        action=name,
        target=words[0],
        method=method,
        overrides=tuple(given.get("--set", ())),
        smoke=smoke,
        attacks=tuple(attacks.split(",")) if attacks else (),
        suite=suite,
    )


def _path(path: str | Path) -> str:
    # A file name may begin with a dash, as an option does.
    text = str(path)
    return f"./{text}" if text.startswith("-") else text


def _module(name: str, *words: str) -> list[str]:
    return [sys.executable, "-m", name, *words]
