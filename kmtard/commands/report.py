"""`kmtard report RUN...`: many runs in one table.

Runs that differ in nothing but their seed and their places are one row, with the mean
and the standard deviation (n - 1) over the seeds.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from kmtard.recipe import RecipeError, load
from kmtard.registry import label
from kmtard.runs import Run
from kmtard.runs.files import RunError

FORMATS = ("table", "markdown", "csv")
PLACES = {"seed", "runs_dir", "cache_dir"}


@dataclass(frozen=True)
class Row:
    """Equal runs of several seeds.

    Attributes:
        data: data set.
        student: network.
        method: training method.
        settings: number of different settings of this method that came before: rows
            of one name differ in more than their seeds.
        scores: column -> one value in [0, 1] a run.
    """

    data: str
    student: str
    method: str
    settings: int
    scores: Mapping[str, list[float]]

    @property
    def label(self) -> str:
        """The method, numbered where its runs differ in their settings."""
        return self.method + (f" ({self.settings + 1})" if self.settings else "")

    def text(self, column: str) -> str:
        """Return mean and deviation in %, the latter if there are several runs."""
        values = [100 * value for value in self.scores.get(column, ())]
        if not values:
            return "-"
        deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
        return f"{statistics.mean(values):.2f}{deviation}"


def main(argv: Sequence[str] | None = None, *, prog: str = "kmtard report") -> int:
    """Run the command; return its exit code, 1 if a run cannot be used."""
    parser = argparse.ArgumentParser(
        prog=prog, description="Show many runs in one table."
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        type=os.path.expanduser,
        help="a run's folder",
    )
    parser.add_argument("--format", choices=FORMATS, default="table")
    arguments = parser.parse_args(argv)
    rows, problems = collect(map(Path, arguments.runs))
    if rows:
        _show(rows, arguments.format)
    for problem in problems:
        Console(stderr=True).out(problem, highlight=False)
    return 1 if problems else 0


def collect(paths: Iterable[Path]) -> tuple[list[Row], list[str]]:
    """Read finished runs.

    Args:
        paths: folders; those that are no runs at all are passed over.

    Returns:
        The rows, best W-Robust accuracy first, and what is wrong with runs left out.
    """
    groups: dict[str, dict[str, Any]] = {}
    problems = []
    for path in paths:
        if not (path / "run.json").exists():
            continue
        try:
            recipe = load(Run.open(path).recipe_path)
            scores = _scores(path)
        except (RunError, RecipeError, OSError, ValueError, KeyError) as error:
            problems.append(f"{path} is left out: {error}")
            continue
        settings = recipe.model_dump(mode="json")
        settings["runtime"] = {
            key: value
            for key, value in settings["runtime"].items()
            if key not in PLACES
        }
        key = json.dumps(settings, sort_keys=True)
        group = groups.setdefault(key, {"recipe": recipe, "scores": {}})
        for column, score in scores.items():
            group["scores"].setdefault(column, []).append(score)
    return _rows(list(groups.values())), problems


def _scores(path: Path) -> dict[str, float]:
    try:
        report = json.loads((path / "evaluation.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError("it has no evaluation.json, so it has not finished") from error
    [student] = [row for row in report["rows"] if row["role"] == "student"]
    *_, chosen = student["w_robust_accuracy"]
    return {
        "clean": student["clean_accuracy"],
        **student["robust_accuracy"],
        "W-Robust": student["w_robust_accuracy"][chosen],
    }


def _rows(groups: list[dict[str, Any]]) -> list[Row]:
    rows: list[Row] = []
    for group in groups:
        recipe = group["recipe"]
        method = label(recipe.method.name)
        names = (recipe.data.name, recipe.student.network, method)
        alike = sum((row.data, row.student, row.method) == names for row in rows)
        rows.append(Row(*names, alike, group["scores"]))
    return sorted(rows, key=lambda row: -statistics.mean(row.scores["W-Robust"]))


def _show(rows: list[Row], form: str) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row.scores))
    columns.append(columns.pop(columns.index("W-Robust")))
    header = ["data", "student", "method", "runs", *columns]
    lines = [
        [
            *(row.data, row.student, row.label, str(len(row.scores["W-Robust"]))),
            *(row.text(column) for column in columns),
        ]
        for row in rows
    ]
    if form == "table":
        Console().print(_table(header, lines))
    elif form == "markdown":
        rule = ["---" if name in header[:3] else "---:" for name in header]
        for line in (header, rule, *lines):
            sys.stdout.write("| " + " | ".join(line) + " |\n")
    else:
        buffer = io.StringIO()
        csv.writer(buffer).writerows([header, *lines])
        sys.stdout.write(buffer.getvalue())


def _table(header: list[str], lines: list[list[str]]) -> Table:
    """Return a table for the terminal; what all rows have in common is its title."""
    shared = [i for i in (0, 1) if len({line[i] for line in lines}) == 1]
    table = Table(
        title=", ".join(lines[0][index] for index in shared) or None,
        caption="%; mean ± standard deviation over the seeds",
    )
    shown = [index for index in range(len(header)) if index not in shared]
    for index in shown:
        table.add_column(header[index], justify="left" if index < 3 else "right")
    for line in lines:
        table.add_row(*(line[index] for index in shown))
    return table
