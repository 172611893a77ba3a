"""Statistics of correct and wrong images, of one model and of two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def w_robust(clean: float, robust: float, *, clean_weight: float = 0.5) -> float:
    """Return the weighted robust accuracy `pi_nat clean + pi_adv robust` of B-MTARD.

    Args:
        clean: accuracy in [0, 1].
        robust: accuracy under attack in [0, 1].
        clean_weight: pi_nat in [0, 1]; pi_adv is the rest.
    """
    return clean_weight * clean + (1 - clean_weight) * robust


def wilson_interval(
    successes: int, trials: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the score interval of a share (Wilson 1927).

    Args:
        successes: from 0 to `trials`.
        trials: n >= 1.
        confidence: in (0, 1); of both sides together.

    Returns:
        Low and high end in [0, 1].

    Raises:
        ValueError: the counts do not fit each other.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(
            "Expected 0 <= successes <= trials and trials > 0. "
            f"Received: {successes} of {trials}."
        )
    interval = _binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value of McNemar's paired test (1947).

    Images on which both models do equally well say nothing; were the models equally
    good, each of the others would be a fair coin. The binomial distribution is exact,
    whatever the counts: no chi-squared approximation is needed.

    Args:
        only_first: images that the first model alone gets right, >= 0.
        only_second: images that the second model alone gets right, >= 0.

    Returns:
        In (0, 1]; 1 where the models differ on no image.

    Raises:
        ValueError: a count is negative.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(
            f"Expected counts >= 0. Received: {only_first} and {only_second}."
        )
    trials = only_first + only_second
    # SciPy refuses a test of nothing.
    return float(_binomtest(only_first, trials).pvalue) if trials else 1.0


def wilcoxon(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test (1945).

    Differences of 0 say nothing and are left out.

    Args:
        differences: one per pair, such as an image.

    Returns:
        In [0, 1]; 1 if all differences are 0.

    Example:
        >>> wilcoxon([1, 1, 2, 1, 3, 0])
        0.0625
    """
    differences = [each for each in differences if each]
    if not differences:
        return 1.0
    # As in `_binomtest`.
    from scipy.stats import wilcoxon as test

    return float(test(differences).pvalue)


def _binomtest(successes: int, trials: int) -> Any:
    # The command line imports this module, and SciPy takes longer than its help may.
    from scipy.stats import binomtest

    return binomtest(successes, trials)
