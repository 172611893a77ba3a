"""Intervals and tests against SciPy, and at the ends of their range."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from kmtard.evaluation.statistics import mcnemar, w_robust, wilson_interval

pytestmark = pytest.mark.once("torch")


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (3, 7), (5000, 10000)])
def test_wilson_is_that_of_scipy(k: int, n: int, confidence: float) -> None:
    wanted = binomtest(k, n).proportion_ci(confidence, method="wilson")
    low, high = wilson_interval(k, n, confidence=confidence)
    assert (low, high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    assert 0 <= low < high <= 1


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3), (0, 0)])
def test_wilson_refuses_counts_that_do_not_fit(k: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"Received: {k} of {n}"):
        wilson_interval(k, n)


@pytest.mark.parametrize("counts", [(1, 0), (3, 9), (12, 12), (40, 71), (900, 1100)])
def test_mcnemar_is_the_binomial_test(counts: tuple[int, int]) -> None:
    wanted = binomtest(counts[0], sum(counts)).pvalue
    assert mcnemar(*counts) == pytest.approx(wanted, rel=1e-9)
    assert mcnemar(*counts) == mcnemar(*counts[::-1])


def test_mcnemar_of_equal_models() -> None:
    assert mcnemar(0, 0) == 1


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(ValueError, match="-1 and 2"):
        mcnemar(-1, 2)


def test_w_robust_weighs() -> None:
    assert w_robust(0.8, 0.4) == pytest.approx(0.6)
    assert w_robust(0.8, 0.4, clean_weight=0.25) == pytest.approx(0.5)
