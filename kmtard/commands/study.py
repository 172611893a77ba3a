"""`kmtard study RECIPE [NAME]`: train every cell of a grid and write one table."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from kmtard.commands.parser import Parser
from kmtard.commands.trust import add_trust
from kmtard.recipe import RecipeError, foreign_reason, load
from kmtard.recipe.errors import mistakes_of
from kmtard.recipe.schema import Study
from kmtard.registry import RegistryError, modules
from kmtard.runs import RunError
from kmtard.runs.formats import ABSENT, counted
from kmtard.runs.groups import groups_table, without_shared
from kmtard.runs.studies import StudyFolder
from kmtard.runs.study_task import StudyTask
from kmtard.runs.tables import Table, to_rich
from kmtard.runs.visible import accept_any_text, tell, wide_console
from kmtard.study.conduct import Conductor, runs_of, study_name
from kmtard.study.forecast import forecast
from kmtard.study.grid import (
    axis_of,
    cells_of,
    chosen_cells,
    refuse_missing_weights,
)
from kmtard.study.local import Local
from kmtard.study.named import named_studies, named_study
from kmtard.study.place import Place
from kmtard.study.progress import Status
from kmtard.study.slurm import Slurm

BAD_COMMAND_LINE = 2
FAILED = 1
INTERRUPTED = 130
OWN = "study"  # the name of the study in the recipe's [study] section


def main(argv: Sequence[str] | None = None, *, prog: str = "kmtard study") -> int:
    """Run the command.

    Args:
        argv: the arguments; `sys.argv[1:]` if None.
        prog: name of the command in messages.

    Returns:
        The exit code. 0: every cell has finished. 1: a cell failed or was stopped, or
        the queue or SLURM cannot be used. 2: the recipe or the command line is wrong,
        and nothing was started. 130: Ctrl-C; the runs continue.
    """
    accept_any_text()
    arguments = _parser(prog).parse_args(argv)
    screen, errors = wide_console(), Console(stderr=True)
    place: Place | None = None
    try:
        for module in arguments.imports:
            modules.allow(module)
        conductor = _conductor(arguments, screen)
        place = conductor.place
        statuses = conductor.look()
        if arguments.json:
            _write_plan(conductor, statuses, arguments)
            return 0
        if not arguments.dry_run:
            left = [each.cell for each in statuses if each.state != "finished"]
            refuse_missing_weights(left)
            # The launcher lists the study while its size is still being estimated.
            conductor.record(statuses)
        _tell_plan(conductor, statuses, arguments, screen)
        if arguments.dry_run:
            return 0
        return _end(conductor, conductor.execute(), screen)
    except (RecipeError, RegistryError, ValueError) as error:
        tell(errors, error)
        return BAD_COMMAND_LINE
    except RunError as error:
        tell(errors, f"failed: {error}")
        return FAILED
    except KeyboardInterrupt:
        tell(screen, f"\ninterrupted. {place.advice() if place else ''}")
        return INTERRUPTED


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = Parser(
        prog=prog,
        description="Train every cell of a grid and write one table. If it was stopped "
        "or killed, the same command continues the study.",
    )
    add = parser.add_argument
    add("recipe", type=os.path.expanduser, help="a TOML file; see recipes/")
    add("name", nargs="?", help="a study of the paper's tables, used instead of the "
        f"recipe's [study]: {', '.join(named_studies())}")  # fmt: skip
    add("--methods", type=_names, metavar="A,B", help='methods to train; "all" for all '
        'methods of the recipe, "paper" for those of the paper\'s '
        'tables')  # fmt: skip
    add("--seeds", type=_seeds, metavar="SEEDS", help="seeds, such as 0-2 or 0,1,5")
    add("--axis", dest="axes", action="append", default=[], metavar="KEY=VALUE",
        help="add a value to the axis of a recipe key; can be repeated")  # fmt: skip
    add("--set", dest="overrides", action="append", default=[],
        metavar="TABLE.KEY=VALUE", help="change a key of the recipe in every cell, "
        "value as in TOML; can be repeated")  # fmt: skip
    add("--only", action="append", default=[], metavar="CELL", help="train only the "
        "cells with this name or part of a name, such as a method or s0; * matches "
        "anything; can be repeated")  # fmt: skip
    add("--smoke", action="store_true", help="train each cell on few images for two "
        "epochs, to check that everything runs")  # fmt: skip
    add("--dry-run", nargs="?", const="plan", choices=("plan", "measure"), help="show "
        "what would run and train nothing; with =measure, also try a few steps of each "
        "training to estimate its time")  # fmt: skip
    add("--rerun", action="store_true", help="train the cells again from the start, "
        "even if they have runs already")  # fmt: skip
    add("--on", choices=("local", "slurm"), default="local", help="where the runs are "
        "executed: in the queue of this machine (local), or on SLURM with the settings "
        "in [study.slurm] (default: local)")  # fmt: skip
    add("--jobs", type=int, metavar="N", help="number of runs at a time on this "
        "machine (default: one per GPU if there are several, otherwise the limit of "
        "the queue)")  # fmt: skip
    add("--json", action="store_true", help="with --dry-run, print the plan as two "
        "lines of JSON: the cells, then what they need")  # fmt: skip
    add_trust(parser)
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _seeds(text: str) -> tuple[int, ...]:
    seeds: list[int] = []
    try:
        for part in _names(text):
            first, dash, last = part.partition("-")
            seeds += range(int(first), int(last if dash else first) + 1)
    except ValueError:
        seeds = []
    if not seeds:
        raise argparse.ArgumentTypeError(
            f"expected seeds such as 0-2 or 0,1,5; received {text!r}"
        )
    return tuple(dict.fromkeys(seeds))


def _conductor(arguments: argparse.Namespace, screen: Console) -> Conductor:
    path, overrides = arguments.recipe, arguments.overrides
    foreign = None if arguments.trust else foreign_reason(path)
    base = load(path, overrides=overrides, foreign=foreign)
    if arguments.json and not arguments.dry_run:
        raise ValueError("--json: expected --dry-run with it.")
    study = named_study(arguments.name) if arguments.name else base.study
    study = _changed(study, arguments)
    if arguments.jobs is not None and (arguments.on != "local" or arguments.jobs < 1):
        raise ValueError(
            "--jobs: expected a number of at least 1, together with --on local. "
            f"Received: {arguments.jobs} with --on {arguments.on}."
        )
    every = cells_of(
        path,
        study,
        overrides=overrides,
        smoke=arguments.smoke,
        trust=arguments.trust,
        imports=arguments.imports,
    )
    name = study_name(path, arguments.name or OWN, every)
    cells = chosen_cells(every, arguments.only)
    runs_dir = Path(base.runtime.runs_dir)
    ignored = runs_of(cells, runs_dir) if arguments.rerun else frozenset[str]()
    place: Place
    if arguments.on == "slurm":
        folder = StudyFolder.beside(runs_dir, name).path / "slurm"
        place = Slurm(runs_dir, base.study.slurm, folder, ignored)
    else:
        place = Local(runs_dir, arguments.jobs)
    return Conductor(
        name=name,
        every=every,
        cells=cells,
        place=place,
        line=lambda text: tell(screen, text),
        ignored=ignored,
        task=_task(arguments),
    )


def _task(arguments: argparse.Namespace) -> StudyTask:
    """Return what the record keeps. Called again, it begins nothing anew."""
    return StudyTask(
        recipe=arguments.recipe,
        name=arguments.name,
        methods=arguments.methods or (),
        seeds=arguments.seeds or (),
        axes=tuple(arguments.axes),
        overrides=tuple(arguments.overrides),
        only=tuple(arguments.only),
        smoke=arguments.smoke,
        on=arguments.on,
        jobs=arguments.jobs,
        trust=arguments.trust,
        imports=tuple(arguments.imports),
    )


def _changed(study: Study, arguments: argparse.Namespace) -> Study:
    """Return the study with the changes of the command line."""
    values: dict[str, Any] = study.model_dump(exclude={"slurm"})
    if arguments.methods is not None:
        values["methods"] = arguments.methods
    if arguments.seeds is not None:
        values["seeds"] = arguments.seeds
    given: dict[str, list[Any]] = {}
    for text in arguments.axes:
        key, value = axis_of(text)
        given.setdefault(key, []).append(value)
    values["axes"] |= given
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        [first, *_] = mistakes_of(error, ("study",), Study)
        raise ValueError(f"command line: {first}") from error


def _write_plan(
    conductor: Conductor, statuses: Sequence[Status], arguments: argparse.Namespace
) -> None:
    """Write the plan for a program: the cells at once, then what is left to do."""
    cells = [
        {
            "name": each.cell.name,
            "method": each.cell.recipe.method.name,
            "seed": each.cell.recipe.runtime.seed,
            "state": each.state,
            "run": str(each.run.path) if each.run else None,
        }
        for each in statuses
    ]
    _write_line({"study": conductor.name, "cells": cells})
    trials = arguments.dry_run == "measure"
    found = forecast(statuses, conductor.finished(), trials=trials)
    _write_line(found.as_json())


def _write_line(values: Mapping[str, Any]) -> None:
    # ASCII, so that no terminal and no pipe has to encode a name.
    sys.stdout.write(f"{json.dumps(values)}\n")
    sys.stdout.flush()


def _tell_plan(
    conductor: Conductor,
    statuses: Sequence[Status],
    arguments: argparse.Namespace,
    screen: Console,
) -> None:
    counts = Counter(each.state for each in statuses)
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    if arguments.dry_run:
        rows = [
            [each.cell.name, each.state, str(each.run.path) if each.run else ABSENT]
            for each in statuses
        ]
        screen.print(to_rich(Table(("cell", "state", "run"), rows)))
    tell(screen, f"Study {conductor.name}: {counted(len(statuses), 'run')} ({states})")
    trials = arguments.dry_run == "measure"
    for line in forecast(statuses, conductor.finished(), trials=trials).lines():
        tell(screen, line)


def _end(conductor: Conductor, statuses: Sequence[Status], screen: Console) -> int:
    groups, problems = conductor.gather()
    if groups:
        screen.print(to_rich(without_shared(groups_table(groups))))
        tell(screen, f"table: {conductor.folder.path / 'table.md'}")
    for problem in problems:
        tell(screen, problem)
    left = [each for each in statuses if each.state != "finished"]
    for each in left:
        where = f" ({each.run.path})" if each.run else ""
        reason = f": {each.reason}" if each.reason else ""
        tell(screen, f"{each.state}: {each.cell.name}{where}{reason}")
    if left:
        tell(
            screen,
            f"Not finished: {len(left)} of {counted(len(statuses), 'cell')}. The same "
            "command continues them.",
        )
    return FAILED if left or problems else 0
