"""Paired tests between methods, on the same seeds and the same images."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence

from kmtard.evaluation.statistics import mcnemar, wilcoxon
from kmtard.registry import label
from kmtard.report.section import Section
from kmtard.report.source import CLEAN, Bench, Measured, Setting, Source
from kmtard.runs.formats import ABSENT
from kmtard.runs.tables import Table

MOST_ROWS = 7
"""With more rows than this, each is compared only with the best one."""

NUMBERS = ("seeds", "A - B", "only A", "only B", "p")
NOTES = (
    "A - B: difference in percentage points, mean ± standard deviation over the shared "
    "seeds. only A, only B: images that only this method classifies correctly, summed "
    "over the seeds.",
    "p: two-sided, on the same images. One seed: McNemar's exact test. Several seeds: "
    "Wilcoxon's signed-rank test on the number of correct seeds of A and of B per "
    "image. p covers the choice of images, not the choice of seeds. It is not "
    "corrected for the number of comparisons.",
)


def tests(source: Source) -> Section:
    """Return the differences between methods, with their p-values."""
    tables, missing = [], []
    for bench in source.benches:
        columns = [each for each in (CLEAN, bench.headline) if each]
        rows = [
            row
            for column in columns
            for first, second in _pairs(bench)
            if (row := _row(first, second, column))
        ]
        if rows:
            header = ["attack", "A", "B", *NUMBERS]
            table = Table(header, rows, NUMBERS, title=bench.title, notes=NOTES)
            tables.append(table)
        elif len(bench.evaluated) > 1:
            missing.append(
                f"{bench.title}: no two methods share a seed and evaluated images. "
                "Train both with the same `runtime.seed`, and evaluate both with the "
                "same options."
            )
    return Section("pairs", "Paired differences between methods", tables, missing)


def _pairs(bench: Bench) -> Sequence[tuple[Setting, Setting]]:
    rows = bench.evaluated
    if len(rows) <= MOST_ROWS:
        return list(itertools.combinations(rows, 2))
    best = max(rows, key=lambda each: statistics.mean(each.w_robust or [-1.0]))
    return [(best, each) for each in rows if each is not best]


def _row(first: Setting, second: Setting, column: str) -> list[str] | None:
    ours, theirs = _by_seed(first, column), _by_seed(second, column)
    seeds = [
        seed
        for seed in ours
        if seed in theirs and _fits(ours[seed], theirs[seed], column)
    ]
    if not seeds:
        return None
    # Only seeds with the same images as the first one can be added to it.
    seeds = [seed for seed in seeds if _fits(ours[seeds[0]], ours[seed], column)]
    digits = [
        (ours[seed].scores[column].robust, theirs[seed].scores[column].robust)
        for seed in seeds
    ]
    differences = [
        100 * (one.count("1") - other.count("1")) / len(one) for one, other in digits
    ]
    only = [
        sum(
            pair == wanted
            for one, other in digits
            for pair in zip(one, other, strict=True)
        )
        for wanted in (("1", "0"), ("0", "1"))
    ]
    spread = f" ± {statistics.stdev(differences):.2f}" if differences[1:] else ""
    return [
        *(label(column) if column != CLEAN else column, first.label, second.label),
        str(len(seeds)),
        f"{statistics.mean(differences):+z.2f}{spread}",
        *map(str, only),
        f"{_p_value(digits, only):.3g}",
    ]


def _by_seed(setting: Setting, column: str) -> Mapping[str, Measured]:
    """Return seed -> a run that has an outcome per image."""
    return {
        run.seed: run
        for run in setting.members
        if column in run.scores and run.scores[column].robust
    }


def _fits(one: Measured, other: Measured, column: str) -> bool:
    """Return whether two runs were evaluated on the same images at the same radius."""
    images = [
        each.results and (each.results.conditions or {}).get("images", ABSENT)
        for each in (one, other)
    ]
    counts = {len(each.scores[column].robust) for each in (one, other)}
    is_alike = images[0] == images[1] != ABSENT and one.epsilon == other.epsilon
    return is_alike and len(counts) == 1


def _p_value(digits: Sequence[tuple[str, str]], only: Sequence[int]) -> float:
    if len(digits) == 1:
        return mcnemar(only[0], only[1])
    images = zip(*(zip(*pair, strict=True) for pair in digits), strict=True)
    return wilcoxon([sum((a > b) - (a < b) for a, b in image) for image in images])
