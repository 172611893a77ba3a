"""Compare two models on the same images with McNemar's test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kmtard.evaluation.result import WORST_CASE, Column, Evaluation
from kmtard.evaluation.statistics import mcnemar
from kmtard.runs.formats import percent, points
from kmtard.runs.tables import Table

__all__ = ["Comparison", "compare", "comparison_table"]


@dataclass(frozen=True)
class Comparison:
    """Two models under one attack.

    Attributes:
        attack: name of the attack, or `clean`.
        first: accuracy of the first model, in [0, 1].
        second: accuracy of the second model, in [0, 1].
        only_first: number of images that only the first model classifies correctly.
        only_second: number of images that only the second model classifies correctly.
        p_value: two-sided p-value of McNemar's exact test, in (0, 1].
    """

    attack: str
    first: float
    second: float
    only_first: int
    only_second: int
    p_value: float


def compare(first: Evaluation, second: Evaluation) -> list[Comparison]:
    """Compare two evaluations, attack by attack, with McNemar's paired test.

    The worst case is compared only if both have the same attacks.

    Raises:
        ValueError: the evaluations have different images.

    Example:
        >>> from kmtard.evaluation.comparison import compare
        >>> first, second = (
        ...     kmtard.evaluation.evaluate(each, (x, y), attacks="fgsm")
        ...     for each in (model, teacher)
        ... )
        >>> [each.attack for each in compare(first, second)]
        ['clean', 'fgsm']
    """
    if first.fingerprint != second.fingerprint:
        raise ValueError(
            "Two evaluations can be compared only on the same images. Received: "
            f"{first.images} images of {first.data} and {second.images} images of "
            f"{second.data}, which differ. Evaluate both models on the same images."
        )
    columns, others = first.columns, second.columns
    if first.attacks.keys() != second.attacks.keys():
        columns.pop(WORST_CASE, None)
    shared = [name for name in columns if name in others]
    return [_compared(name, columns[name], others[name]) for name in shared]


def different_settings(first: Evaluation, second: Evaluation) -> list[str]:
    """Return the shared attacks that have different settings."""
    shared = first.attacks.keys() & second.attacks.keys()
    return sorted(
        name
        for name in shared
        if first.attacks[name].settings != second.attacks[name].settings
    )


def different_conditions(first: Evaluation, second: Evaluation) -> list[str]:
    """Return the conditions that differ, without the images, such as `seed 0 and 3`."""
    known = first.conditions.keys() & second.conditions.keys()
    return [
        f"{key} {first.conditions[key]} and {second.conditions[key]}"
        for key in sorted(known - {"images"})
        if first.conditions[key] != second.conditions[key]
    ]


def _compared(name: str, first: Column, second: Column) -> Comparison:
    only_first = int(np.count_nonzero(first.robust & ~second.robust))
    only_second = int(np.count_nonzero(second.robust & ~first.robust))
    return Comparison(
        name,
        first.accuracy,
        second.accuracy,
        only_first,
        only_second,
        mcnemar(only_first, only_second),
    )


def comparison_table(
    first: Evaluation, second: Evaluation, names: Sequence[str] = ("", "")
) -> Table:
    """Return the comparison as a table.

    Args:
        first: the evaluation shown as A.
        second: the evaluation shown as B.
        names: names to show for both; by default, the names of the models.

    Raises:
        ValueError: the evaluations have different images.
    """
    pairs = zip("AB", names, (first.model, second.model), strict=True)
    notes = [f"{letter}: {name or model}" for letter, name, model in pairs]
    notes.append("p: McNemar's exact test")
    if differing := different_conditions(first, second):
        notes.append(f"conditions differ: {', '.join(differing)}")
    if differing := different_settings(first, second):
        notes.append(f"settings differ: {', '.join(differing)}")
    numbers = ("A %", "B %", "A - B", "only A", "only B", "p")
    rows = [
        [
            each.attack,
            *(percent(each.first), percent(each.second)),
            points(each.first, each.second),
            *(str(each.only_first), str(each.only_second), f"{each.p_value:.3g}"),
        ]
        for each in compare(first, second)
    ]
    title = f"{first.images} images of {first.data}"
    return Table(["attack", *numbers], rows, numbers, title=title, notes=notes)
