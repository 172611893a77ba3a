"""Compare two runs of one recipe, to check whether the results are the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kmtard.registry.roles import LABELS
from kmtard.runs.files import RunError
from kmtard.runs.folder import Run
from kmtard.runs.formats import percent
from kmtard.runs.history import History
from kmtard.runs.phase import SPEED, Phase
from kmtard.runs.results import (
    WORST_CASE,
    NetworkResults,
    Results,
    Score,
    read_results,
)

MOST = 40
"""Largest number of differences in the list."""


@dataclass(frozen=True)
class Agreement:
    """The result of comparing two runs.

    Attributes:
        compared: the compared parts, such as `3 epochs of the student`.
        differing: one text per difference.
        notes: parts that could not be compared, and versions that differ.

    Example:
        >>> Agreement(["3 epochs of the student"], [], []).lines()
        ['the same: 3 epochs of the student']
    """

    compared: Sequence[str]
    differing: Sequence[str]
    notes: Sequence[str]

    @property
    def is_same(self) -> bool:
        """Whether at least one part was compared, and nothing differs."""
        return bool(self.compared) and not self.differing

    def lines(self) -> list[str]:
        """Return the result as readable lines."""
        what = ", ".join(self.compared) or "nothing could be compared"
        if self.is_same:
            return [f"the same: {what}", *self.notes]
        more = len(self.differing) - MOST
        rest = [f"and {more} more differences"] if more > 0 else []
        return [f"not the same: {what}", *self.differing[:MOST], *rest, *self.notes]


def compare(first: Run, second: Run) -> Agreement:
    """Compare the metrics of each epoch and the evaluations of two runs.

    Times are not compared. For a metric that differs, the first such epoch is named.

    Args:
        first: the original run.
        second: its repetition.
    """
    compared: list[str] = []
    differing: list[str] = []
    notes = list(_different_versions(first.info(), second.info()))
    histories = [History(run) for run in (first, second)]
    for history in histories:
        history.poll()
    phases = [history.phases for history in histories]
    for name in dict.fromkeys([*phases[0], *phases[1]]):
        label = LABELS.get(name, name)
        pair = [found.get(name) for found in phases]
        if pair[0] is None or pair[1] is None:
            run = second if pair[0] is None else first
            notes.append(f"{label}: trained only in {run.path}")
            continue
        shared = min(pair[0].epoch, pair[1].epoch)
        compared.append(f"{shared} epochs of the {label}")
        differing += _different_epochs(label, pair[0], pair[1])
    try:
        records = read_results(first.path), read_results(second.path)
    except RunError as error:
        notes.append(str(error))
    else:
        compared.append(f"the evaluation on {records[1].images} images")
        differing += _different_results(*records)
        notes += _in_one_only(*records)
    return Agreement(compared, differing, notes)


def _different_versions(
    first: Mapping[str, object], second: Mapping[str, object]
) -> Iterator[str]:
    for key in ("backend", "host", "revision"):
        if first.get(key) != second.get(key):
            pair = [found.get(key) or "unknown" for found in (first, second)]
            yield f"{key}: {pair[0]} and {pair[1]}"
    versions = [_mapping(info.get("versions")) for info in (first, second)]
    for name in dict.fromkeys([*versions[0], *versions[1]]):
        pair = [found.get(name) for found in versions]
        if pair[0] != pair[1]:
            yield f"version of {name}: {pair[0]} and {pair[1]}"


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _different_epochs(label: str, first: Phase, second: Phase) -> Iterator[str]:
    if first.epoch != second.epoch:
        yield f"{label}: {first.epoch} and {second.epoch} epochs"
    for name in dict.fromkeys([*first.metrics, *second.metrics]):
        if name == SPEED:
            continue
        series = [phase.metrics.get(name) for phase in (first, second)]
        if series[0] is None or series[1] is None:
            yield f"{label}: {name} is in one run only"
            continue
        values = [dict(zip(each.x, each.y, strict=True)) for each in series if each]
        for epoch in (x for x in values[0] if x in values[1]):
            if values[0][epoch] != values[1][epoch]:
                text = f"{values[0][epoch]} and {values[1][epoch]}"
                yield f"{label}, epoch {epoch:g}: {name} {text}"
                break


def _different_results(first: Results, second: Results) -> Iterator[str]:
    pairs = [{each.role: each for each in found.networks} for found in (first, second)]
    for role in (each for each in pairs[0] if each in pairs[1]):
        yield from _different_networks(pairs[0][role], pairs[1][role])


def _in_one_only(first: Results, second: Results) -> Iterator[str]:
    """Yield the columns that only one record has, such as later attacks."""
    sets = [
        {f"{each.label}, {name}" for each in found.networks for name in each.columns}
        for found in (first, second)
    ]
    for name in sorted(sets[0] ^ sets[1]):
        yield f"{name}: only in {first.path if name in sets[0] else second.path}"


def _different_networks(first: NetworkResults, second: NetworkResults) -> Iterator[str]:
    if None not in (first.weights, second.weights) and first.weights != second.weights:
        yield f"{first.label}: the weights differ"
    columns = first.columns, second.columns
    if first.attacks.keys() != second.attacks.keys():
        columns[0].pop(WORST_CASE, None)
    for name in (each for each in columns[0] if each in columns[1]):
        if text := _different_scores(columns[0][name], columns[1][name]):
            yield f"{first.label}, {name}: {text}"


def _different_scores(first: Score, second: Score) -> str:
    parts = []
    if first.accuracy != second.accuracy:
        parts.append(f"{percent(first.accuracy)} and {percent(second.accuracy)} %")
    answers = first.predictions or first.robust, second.predictions or second.robust
    if all(answers) and answers[0] != answers[1]:
        count = sum(a != b for a, b in zip(*answers, strict=False))
        parts.append(f"{count} images have different outcomes")
    return ", ".join(parts)
