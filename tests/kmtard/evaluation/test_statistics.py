"""Intervals and tests against their formulas, and at the ends of their range."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest

from kmtard.evaluation.statistics import (
    mcnemar,
    w_robust,
    wilcoxon,
    wilson_interval,
)

pytestmark = pytest.mark.once("torch")


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize(
    ("k", "n"), [(0, 1), (1, 1), (3, 7), (360, 360), (5000, 10000)]
)
def test_wilson_is_its_formula(k: int, n: int, confidence: float) -> None:
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    center, half = k / n + z**2 / (2 * n), z * (k * (n - k) / n + z**2 / 4) ** 0.5 / n
    wanted = [(center + sign * half) / (1 + z**2 / n) for sign in (-1, 1)]
    low, high = wilson_interval(k, n, confidence=confidence)
    assert (low, high) == pytest.approx(wanted, abs=1e-12)
    assert type(low) is type(high) is float
    assert (low == 0, high == 1) == (k == 0, k == n)


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3), (0, 0)])
def test_wilson_refuses_counts_that_do_not_fit(k: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"Received: {k} of {n}"):
        wilson_interval(k, n)


@pytest.mark.parametrize("counts", [(1, 0), (3, 9), (12, 12), (40, 71), (900, 1100)])
def test_mcnemar_is_the_sum_of_both_tails(counts: tuple[int, int]) -> None:
    trials = sum(counts)
    tail = sum(math.comb(trials, count) for count in range(min(counts) + 1))
    p_value = mcnemar(*counts)
    assert p_value == pytest.approx(min(1.0, 2 * tail / 2**trials), rel=1e-9)
    assert type(p_value) is float
    assert p_value == mcnemar(*counts[::-1])


def test_mcnemar_of_equal_models() -> None:
    assert mcnemar(0, 0) == 1


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(ValueError, match="-1 and 2"):
        mcnemar(-1, 2)


def test_wilcoxon_counts_the_signs_of_its_ranks() -> None:
    # Of the 16 signs of four ranks, two give a sum as far from the middle as 0.
    assert wilcoxon([1, 2, 3, 4]) == wilcoxon([0, -1, -2, 0, -3, -4]) == 2 / 16
    assert wilcoxon([1, -2, 3, -4]) > 0.5
    assert wilcoxon([]) == wilcoxon([0, 0]) == 1


def test_w_robust_weighs() -> None:
    assert w_robust(0.8, 0.4) == pytest.approx(0.6)
    assert w_robust(0.8, 0.4, clean_weight=0.25) == pytest.approx(0.5)
