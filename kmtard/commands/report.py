"""`kmtard report RUN_OR_STUDY...`: print one table, or write a full report.

Runs that differ only in their seed and folders share one row, with the mean and the
standard deviation (n - 1) over the seeds.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from kmtard import __version__
from kmtard.commands.parser import Parser
from kmtard.report import folder, page, sections, source
from kmtard.report.claim import Claim
from kmtard.report.section import Section
from kmtard.report.sections import claim as claim_sections
from kmtard.runs.files import RunError, write_atomic
from kmtard.runs.formats import ABSENT
from kmtard.runs.groups import collect, groups_table, without_shared
from kmtard.runs.result_tables import attacks_table
from kmtard.runs.tables import to_csv, to_markdown, to_rich
from kmtard.runs.verdict import verdict
from kmtard.runs.visible import accept_any_text, tell, wide_console

FORMATS = ("table", "markdown", "csv")


def main(argv: Sequence[str] | None = None, *, prog: str = "kmtard report") -> int:
    """Run the command.

    Args:
        argv: the arguments; `sys.argv[1:]` if None.
        prog: name of the command in messages.

    Returns:
        The exit code: 0, or 1 if a run cannot be used or a file cannot be written.
    """
    accept_any_text()
    arguments = _parser(prog).parse_args(argv)
    paths = list(map(Path, arguments.runs))
    words = sys.argv[1:] if argv is None else argv
    line = shlex.join(("kmtard", "report", *words))
    try:
        claims = list(filter(None, map(Claim.at, paths)))
        if claims:
            return _claim(claims, paths, arguments, line)
        if arguments.html is None and arguments.output is None:
            return _table(paths, arguments.format)
        return _report(paths, arguments, line)
    except RunError as error:
        return _told([str(error)])


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = Parser(
        prog=prog,
        description="Show runs in one table, or write a report with tables and "
        "figures. Runs that differ only in their seed share one row with mean and "
        "standard deviation.",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="PATH",
        type=os.path.expanduser,
        help="folder of a run or a study, or a folder that contains runs; or one "
        "evaluation: a .keras file that was evaluated, or its evaluation.json",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="table",
        help="format of the printed table (default: table)",
    )
    parser.add_argument(
        "--html",
        metavar="FILE",
        type=os.path.expanduser,
        help="write a report with all tables and figures as one HTML file",
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        type=os.path.expanduser,
        help="write the report as HTML and Markdown, with each table also as LaTeX and "
        "CSV, and each figure as SVG and PNG",
    )
    return parser


def _table(paths: Sequence[Path], form: str) -> int:
    folders, problems = source.run_folders(paths, finished=True)
    groups, left_out = collect(folders)
    if groups:
        table = groups_table(groups)
        if form == "table":
            wide_console().print(to_rich(without_shared(table)))
        elif form == "markdown":
            sys.stdout.write(to_markdown(replace(table, notes=())))
        else:
            sys.stdout.write(to_csv(table, absent=ABSENT))
    return _told([*problems, *left_out])


def _report(paths: Sequence[Path], arguments: argparse.Namespace, line: str) -> int:
    found = source.read(paths)
    if not found.runs:
        wanted = "Expected at least one run. `kmtard fit RECIPE` trains one."
        return _told([*found.problems, wanted])
    built = sections.build(found)
    try:
        _write(arguments, _title(found), _lead(found, line), built)
    except RunError as error:
        return _told([*found.problems, str(error)])
    return _told(found.problems)


def _claim(
    claims: Sequence[Claim],
    paths: Sequence[Path],
    arguments: argparse.Namespace,
    line: str,
) -> int:
    if len(paths) > 1:
        raise RunError(
            "Expected one evaluation alone, because its page is about one model; or "
            f"runs and studies. Received: {', '.join(map(str, paths))}. Compare two "
            "evaluations with `kmtard evaluate --compare A B`."
        )
    [claim] = claims
    if arguments.html is None and arguments.output is None:
        _print_claim(claim, arguments.format)
        return 0
    title, lead = claim_sections.title(claim), claim_sections.lead(claim)
    lead = f"{lead} {_written(line)}"
    _write(arguments, title, lead, claim_sections.build(claim))
    return 0


def _print_claim(claim: Claim, form: str) -> None:
    table = attacks_table(claim.results, claim.network)
    if form == "table":
        wide_console().print(to_rich(table))
        tell(Console(), f"verdict: {verdict(claim.network).sentence}")
    else:
        text = to_markdown(table) if form == "markdown" else to_csv(table)
        sys.stdout.write(text)


def _write(
    arguments: argparse.Namespace, title: str, lead: str, built: Sequence[Section]
) -> None:
    if arguments.html is not None:
        write_atomic(arguments.html, page.to_html(title, lead, built))
        tell(Console(), f"report: {arguments.html}")
    if arguments.output is not None:
        folder.write(Path(arguments.output), title, lead, built)
        tell(Console(), f"report: {Path(arguments.output) / 'report.html'}")


def _title(found: source.Source) -> str:
    if len(found.runs) == 1:
        return f"Report on {found.runs[0].run.name}"
    names = dict.fromkeys(bench.title for bench in found.benches)
    return f"Report on {'; '.join(names)}"


def _lead(found: source.Source, line: str) -> str:
    runs, rows = len(found.runs), len(found.settings)
    counts = f"{runs} run{'s' if runs > 1 else ''} in {rows} row"
    return f"{counts}{'s' if rows > 1 else ''}. {_written(line)}"


def _written(line: str) -> str:
    day = time.strftime("%Y-%m-%d %H:%M %Z")
    return f"Written on {day} by kmtard {__version__}: {line}"


def _told(problems: Sequence[str]) -> int:
    for problem in problems:
        tell(Console(stderr=True), problem)
    return 1 if problems else 0
