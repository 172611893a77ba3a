"""The command of a study, as its folder stores it for a later resume."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from kmtard.runs.queue.task import granting

PLACES = ("local", "slurm")
LISTS = ("methods", "axes", "overrides", "only", "imports")


@dataclass(frozen=True, kw_only=True)
class StudyTask:
    """What `kmtard study` was asked for. Its command line is built when it starts.

    The record of a study holds this and no command: a person who can write the record
    cannot choose which program runs.

    Args:
        recipe: the recipe's file.
        name: a study of the paper's tables; None for `[study]` of the recipe.
        methods: methods, also "all" and "paper"; those of the study if empty.
        seeds: seeds; those of the study if empty.
        axes: texts of the form `key=value` as in TOML.
        overrides: texts of the form `table.key=value` as in TOML, for every cell.
        only: names of cells or parts of them, to which the study is restricted.
        smoke: whether to use few images and two epochs.
        on: one of `PLACES`.
        jobs: number of runs at a time on this machine; None as the queue is set.
        trust: whether the user said `--trust` on the command line.
        imports: modules that the user named with `--import` on the command line.

    Raises:
        ValueError: a value looks like an option of the command line, or the place is
            unknown.

    Example:
        >>> StudyTask(recipe="a.toml", seeds=(0, 1)).command()[1:]
        ['-m', 'kmtard.study', 'a.toml', '--seeds', '0,1']
    """

    recipe: str
    name: str | None = None
    methods: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    axes: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    smoke: bool = False
    on: str = "local"
    jobs: int | None = None
    trust: bool = False
    imports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lists = [word for name in LISTS for word in getattr(self, name)]
        for word in (self.recipe, self.name, *lists):
            if word is not None and (not word or word[0] == "-" or "\0" in word):
                raise ValueError(
                    "Expected a text that is not empty, does not begin with '-' and "
                    f"has no null character, received {word!r}."
                )
        if any(seed < 0 for seed in self.seeds):
            raise ValueError(f"seeds: expected none below 0, received {self.seeds}.")
        if self.on not in PLACES:
            raise ValueError(
                f"on: expected one of {', '.join(PLACES)}, received {self.on!r}."
            )

    def without_grants(self) -> StudyTask:
        """Return the same without `--trust` and `--import`."""
        return replace(self, trust=False, imports=())

    def command(self) -> list[str]:
        """Return the command line. It begins with the present Python interpreter."""
        words = [sys.executable, "-m", "kmtard.study", self.recipe]
        words += [self.name] if self.name else []
        if self.methods:
            words += ["--methods", ",".join(self.methods)]
        if self.seeds:
            words += ["--seeds", ",".join(map(str, self.seeds))]
        for option, values in (
            ("--axis", self.axes),
            ("--set", self.overrides),
            ("--only", self.only),
        ):
            words += [word for value in values for word in (option, value)]
        words += ["--smoke"] if self.smoke else []
        words += ["--on", self.on] if self.on != "local" else []
        words += ["--jobs", str(self.jobs)] if self.jobs is not None else []
        return [*words, *granting(self.imports, trust=self.trust)]

    def as_json(self) -> dict[str, Any]:
        """Return the task as it is stored."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


TYPES: Mapping[str, tuple[type, ...]] = {
    "recipe": (str,),
    "name": (str, type(None)),
    "smoke": (bool,),
    "on": (str,),
    "jobs": (int, type(None)),
    "trust": (bool,),
}


def read_study_task(values: Any) -> StudyTask:
    """Return the task that a JSON object describes.

    Raises:
        ValueError: it does not describe the task of a study.
    """
    names = {each.name for each in fields(StudyTask)}
    if not isinstance(values, dict) or values.keys() != names:
        raise ValueError(
            f"Expected a study's task with the keys {', '.join(sorted(names))}, "
            f"received {values!r}."
        )
    read: dict[str, Any] = {}
    for name, value in values.items():
        if name in TYPES:
            is_right = type(value) in TYPES[name]
        else:
            kind = int if name == "seeds" else str
            is_right = type(value) is list and all(type(each) is kind for each in value)
        if not is_right:
            raise ValueError(f"{name}: received {value!r}.")
        read[name] = tuple(value) if isinstance(value, list) else value
    return StudyTask(**read)
