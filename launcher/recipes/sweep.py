"""A study as it is put together in its dialog, and what it would take."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kmtard.recipe import Recipe
from kmtard.recipe.schema import Study
from kmtard.registry import METHODS
from kmtard.runs.formats import counted
from kmtard.runs.study_task import StudyTask
from kmtard.study.named import PAPER_METHODS, named_studies
from launcher.recipes.draft import Checked

OWN = ""
"""The choice that has no name: `[study]` of the recipe."""

SEEDS = 10  # seeds that are offered, from 0


@dataclass(frozen=True)
class Sweep:
    """What is chosen in the dialog.

    Attributes:
        task: with the recipe and the changes to it, without any choice.
        studies: name -> a study; `OWN` is the recipe's.
        usual: the recipe's own method, and its seed.
        methods: the methods to offer, those of the recipe first.
        name: of the chosen study.
        ticked: methods; None for those of the study.
        seeds: seeds; None for those of the study.
        smoke: whether to train for a minute only.
        slurm: whether the runs go to SLURM.
    """

    task: StudyTask
    studies: Mapping[str, Study]
    usual: tuple[str, int]
    methods: tuple[str, ...]
    name: str = OWN
    ticked: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    smoke: bool = False
    slurm: bool = False

    @classmethod
    def of(cls, checked: Checked, recipe: Recipe, path: str) -> Sweep:
        """Return the study of a recipe as it is, or of its own method and seed.

        Args:
            checked: the recipe with the user's changes.
            recipe: what it says.
            path: the recipe's file, as on a command line.
        """
        task = StudyTask(
            recipe=path, overrides=(*checked.overrides, *checked.runs_override)
        )
        own = tuple(checked.file.methods)
        usual = checked.file.method
        named = [each for study in named_studies().values() for each in study.methods]
        known = dict.fromkeys([*own, usual, *recipe.study.methods, *named, *METHODS])
        methods = tuple(name for name in known if name not in ("all", "paper"))
        made = cls(
            task=task,
            studies={OWN: recipe.study, **named_studies()},
            usual=(usual, recipe.runtime.seed),
            methods=methods,
            smoke=checked.draft.smoke,
        )
        chosen = checked.draft.method
        has_methods = recipe.study.methods or _cells_have_methods(recipe.study)
        return made if has_methods or not chosen else replace(made, ticked=(chosen,))

    @property
    def study(self) -> Study:
        """The chosen study, as it is."""
        return self.studies[self.name]

    def own_methods(self, recipe_methods: Sequence[str]) -> tuple[str, ...]:
        """Return the methods that the study has without any choice.

        Args:
            recipe_methods: those that the recipe has a table for.
        """
        sets = {"all": tuple(recipe_methods), "paper": PAPER_METHODS}
        names = [
            name for each in self.study.methods for name in sets.get(each, (each,))
        ]
        if not names and not _cells_have_methods(self.study):
            names = [self.usual[0]]
        return tuple(dict.fromkeys(names))

    @property
    def own_seeds(self) -> tuple[int, ...]:
        """The seeds that the study has without any choice."""
        return self.study.seeds or (self.usual[1],)

    @property
    def offered_seeds(self) -> tuple[int, ...]:
        """The seeds to offer: some from 0, and those of all the studies."""
        known = [seed for study in self.studies.values() for seed in study.seeds]
        return tuple(sorted({*range(SEEDS), self.usual[1], *known}))

    def about(self) -> str:
        """Return what else the study varies, in words; empty if nothing."""
        parts = []
        for key, values in self.study.axes.items():
            parts.append(f"{key}: {', '.join(map(str, values))}")
        if self.study.cells:
            parts.append("cells: " + ", ".join(self.study.cells))
        if self.study.exclude:
            parts.append(f"{len(self.study.exclude)} excluded")
        return " · ".join(parts)

    def chosen(self) -> StudyTask:
        """Return the task."""
        return replace(
            self.task,
            name=self.name or None,
            methods=self.ticked or (),
            seeds=self.seeds or (),
            smoke=self.smoke,
            on="slurm" if self.slurm else "local",
        )

    def problem(self) -> str:
        """Return why nothing can be started; empty if something can."""
        if self.ticked == ():
            return "Tick at least one method."
        return "Tick at least one seed." if self.seeds == () else ""


def _cells_have_methods(study: Study) -> bool:
    cells = study.cells.values()
    return bool(cells) and all(
        "method" in cell or "method.name" in cell for cell in cells
    )


@dataclass(frozen=True)
class Plan:
    """What a study would do, as `kmtard study --dry-run --json` tells it.

    Attributes:
        name: of the study; empty before it is known.
        runs: number of runs in each state.
        needs: what it takes, in lines; empty before it is known.
        problem: why it cannot be started; empty if it can.
    """

    name: str = ""
    runs: Mapping[str, int] | None = None
    needs: tuple[str, ...] = ()
    problem: str = ""

    @property
    def count(self) -> str:
        """The number of runs in words."""
        if self.runs is None:
            return ""
        total = sum(self.runs.values())
        states = ", ".join(f"{count} {state}" for state, count in self.runs.items())
        return f"{counted(total, 'run')} ({states})"


def read_plan(lines: Sequence[str], exit_code: int | None) -> Plan:
    """Return what the lines of the command say so far.

    Args:
        lines: its output.
        exit_code: None while it runs.
    """
    plan, others = Plan(), []
    for line in lines:
        values = _values(line)
        if "cells" in values:
            states = Counter(str(cell.get("state")) for cell in values["cells"])
            plan = replace(plan, name=str(values.get("study", "")), runs=states)
        elif "left" in values:
            needs = tuple(map(str, values.get("lines", ())))
            plan = replace(plan, needs=needs)
        elif line.strip():
            others.append(line)
    if exit_code:
        text = "\n".join(others) or f"The command ended with exit code {exit_code}."
        return replace(plan, problem=text)
    return plan


def _values(line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
