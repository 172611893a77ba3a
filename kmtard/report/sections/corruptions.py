"""Accuracy on common corruptions, one row per setting."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from kmtard.registry.corruptions import GROUPS
from kmtard.report.section import Section
from kmtard.report.source import Bench, Setting, Source, command
from kmtard.runs.formats import mean_and_deviation
from kmtard.runs.records import CorruptionResults
from kmtard.runs.tables import Table

NOTES = (
    "Accuracy in %, mean over the severities and the corruptions of a group; mean ± "
    "standard deviation over the seeds.",
    "Generated images differ from published ones; the page of an evaluation says how.",
)


def by_group(source: Source) -> Section:
    """Return the mean accuracy on the corruptions of each group."""
    name = "Common corruptions"
    blocks, missing = [], []
    for bench in source.benches:
        measured = [(each, _found(each)) for each in bench.evaluated]
        rows = [_row(each, found) for each, found in measured if found]
        if rows:
            header = ["method", *GROUPS, "mean", "mCE"]
            table = Table(header, rows, header[1:], title=bench.title, notes=NOTES)
            blocks.append(table)
        else:
            missing += _command(bench)
    return Section("corruption-groups", name, blocks, missing)


def _found(setting: Setting) -> list[CorruptionResults]:
    students = (run.student for run in setting.members)
    return [each.corruptions for each in students if each and each.corruptions]


def _row(setting: Setting, found: Sequence[CorruptionResults]) -> list[str]:
    cells = []
    for names in GROUPS.values():
        shares = []
        for results in found:
            known = [results.scores[n].accuracy for n in names if n in results.scores]
            if known:
                shares.append(statistics.mean(known))
        cells.append(mean_and_deviation(shares))
    cells.append(mean_and_deviation([each.accuracy for each in found]))
    errors = [each.mce for each in found if each.mce is not None]
    return [setting.label, *cells, mean_and_deviation(errors)]


def _command(bench: Bench) -> list[str]:
    if not bench.evaluated:
        return []
    path = str(bench.evaluated[0].members[0].run.path)
    return [
        f"{bench.title}: no corruption was evaluated. "
        f"`{command('evaluate', path, '--corruptions')}` evaluates fifteen."
    ]
