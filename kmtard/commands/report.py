"""`kmtard report RUN_OR_STUDY...`: show many runs in one table.

Runs that differ only in their seed and folders share one row, with the mean and the
standard deviation (n - 1) over the seeds.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from kmtard.runs import Run, RunError
from kmtard.runs.formats import ABSENT
from kmtard.runs.groups import collect, groups_table, without_shared
from kmtard.runs.studies import StudyFolder
from kmtard.runs.tables import to_csv, to_markdown, to_rich
from kmtard.runs.visible import accept_any_text, tell

FORMATS = ("table", "markdown", "csv")


def main(argv: Sequence[str] | None = None, *, prog: str = "kmtard report") -> int:
    """Run the command.

    Args:
        argv: the arguments; `sys.argv[1:]` if None.
        prog: name of the command in messages.

    Returns:
        The exit code: 0, or 1 if a run cannot be used.
    """
    accept_any_text()
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Show many runs in one table. Runs that differ only in their seed "
        "share one row with mean and standard deviation.",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN_OR_STUDY",
        type=os.path.expanduser,
        help="folder of a run, or of a study for its finished runs",
    )
    parser.add_argument(
        "--format", choices=FORMATS, default="table", help="output (default: table)"
    )
    arguments = parser.parse_args(argv)
    try:
        groups, problems = collect(_runs(arguments.runs))
    except RunError as error:
        tell(Console(stderr=True), error)
        return 1
    if groups:
        table = groups_table(groups)
        if arguments.format == "table":
            Console().print(to_rich(without_shared(table)))
        elif arguments.format == "markdown":
            sys.stdout.write(to_markdown(replace(table, notes=())))
        else:
            sys.stdout.write(to_csv(table, absent=ABSENT))
    for problem in problems:
        tell(Console(stderr=True), problem)
    return 1 if problems else 0


def _runs(paths: Sequence[str]) -> Iterator[Path]:
    """Yield runs, and the finished ones of studies."""
    for path in map(Path, paths):
        study = StudyFolder(path)
        if study.is_study():
            yield from (run for run in study.runs() if Run(run).state() == "finished")
        else:
            yield path
