"""The effect of each balance: the bars of the paper's Figure 3."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from kmtard.registry import label
from kmtard.report import paper
from kmtard.report.drawings import Bars, BarSeries
from kmtard.report.section import Section
from kmtard.report.source import Bench, Setting, Source
from kmtard.runs.formats import ABSENT
from kmtard.runs.tables import Table

METHODS = ("baseline", "baseline_ebb", "mtard", "b_mtard")
STEPS = (
    ("mtard", "baseline", "NLB without EBB"),
    ("b_mtard", "baseline_ebb", "NLB with EBB"),
    ("baseline_ebb", "baseline", "EBB without NLB"),
    ("b_mtard", "mtard", "EBB with NLB"),
)


def bars(source: Source) -> Section:
    """Return W-Robust accuracy with each balance on and off."""
    blocks: list[Bars | Table] = []
    missing = []
    for bench in source.benches:
        rows = _rows(bench)
        if len(rows) > 1:
            blocks += [_bars(bench, rows), _differences(bench, rows)]
        if rows:
            missing += [
                f"{bench.title}: {label(each)} was not trained. "
                f"`{bench.fit_command(each)}` trains it."
                for each in METHODS
                if each not in rows
            ]
    return Section("ablation", "Ablation (form of Figure 3)", blocks, missing)


def _rows(bench: Bench) -> Mapping[str, Setting]:
    """Return the first row of each method of the ablation."""
    found: dict[str, Setting] = {}
    for each in bench.evaluated:
        if each.method in METHODS and each.headline:
            found.setdefault(each.method, each)
    return {method: found[method] for method in METHODS if method in found}


def _attacks(rows: Mapping[str, Setting]) -> list[str]:
    first = next(iter(rows.values()))
    names = first.members[0].scores
    return [
        name
        for name in names
        if all(each.shares(name, "w_robust") for each in rows.values())
    ]


def _bars(bench: Bench, rows: Mapping[str, Setting]) -> Bars:
    attacks = _attacks(rows)
    series = []
    for each in rows.values():
        values = [each.shares(name, "w_robust") for name in attacks]
        series.append(
            BarSeries(
                each.label,
                [100 * statistics.mean(found) for found in values],
                [100 * statistics.stdev(v) if len(v) > 1 else None for v in values],
            )
        )
    return Bars(
        groups=[label(name) for name in attacks],
        series=series,
        y_label="W-Robust accuracy, %",
        caption=f"{bench.title}: W-Robust accuracy per attack. Error bars: standard "
        "deviation over the seeds. The axis does not start at 0.",
    )


def _differences(bench: Bench, rows: Mapping[str, Setting]) -> Table:
    header = ["effect of", "A", "B", "attack", "seeds", "A - B", "A - B, paper"]
    lines = []
    for first, second, name in STEPS:
        if first not in rows or second not in rows:
            continue
        for attack in _attacks(rows):
            pairs = _by_seed(rows[first], rows[second], attack)
            differences = [100 * (a - b) for a, b in pairs]
            mean = ABSENT
            if differences:
                mean = f"{statistics.mean(differences):+z.2f}"
            if differences[1:]:
                mean += f" ± {statistics.stdev(differences):.2f}"
            printed = None
            if rows[first].paper(bench, attack, "w_robust"):
                about = bench.data, bench.student, first, second, attack
                printed = paper.ablation_difference(*about)
            lines.append(
                [
                    *(name, rows[first].label, rows[second].label, label(attack)),
                    *(str(len(differences)), mean),
                    ABSENT if printed is None else f"{printed:+z.2f}",
                ]
            )
    if all(line[-1] == ABSENT for line in lines):
        header, lines = header[:-1], [line[:-1] for line in lines]
    return Table(
        header,
        lines,
        {"seeds", "A - B", "A - B, paper"},
        title=f"{bench.title}: effect of each balance on W-Robust accuracy",
        notes=[
            "Percentage points; mean ± standard deviation over the seeds that A and B "
            "share."
        ],
    )


def _by_seed(first: Setting, second: Setting, attack: str) -> list[tuple[float, float]]:
    def values(setting: Setting) -> dict[str, float]:
        found = {}
        for run in setting.members:
            score = run.scores.get(attack)
            if score and score.w_robust is not None:
                found[run.seed] = score.w_robust
        return found

    ours, theirs = values(first), values(second)
    return [(ours[seed], theirs[seed]) for seed in ours if seed in theirs]
