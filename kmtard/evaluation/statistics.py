"""Statistics of accuracies: W-Robust accuracy, intervals and a paired test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def w_robust(clean: float, robust: float, *, clean_weight: float = 0.5) -> float:
    """Return B-MTARD's W-Robust accuracy, `pi_nat clean + pi_adv robust`.

    Args:
        clean: accuracy in [0, 1].
        robust: accuracy under attack in [0, 1].
        clean_weight: pi_nat in [0, 1]; pi_adv is 1 - pi_nat.

    Example:
        >>> round(w_robust(0.9, 0.5), 3)
        0.7
    """
    return clean_weight * clean + (1 - clean_weight) * robust


def wilson_interval(
    successes: int, trials: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the Wilson score interval of a share (Wilson 1927).

    Args:
        successes: number of successes, 0 to `trials`.
        trials: number of trials, >= 1.
        confidence: two-sided confidence, in (0, 1).

    Returns:
        Low and high end in [0, 1].

    Raises:
        ValueError: the counts do not fit each other.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(
            "`successes` must be in 0 .. `trials`, and `trials` must be >= 1. "
            f"Received: {successes} of {trials}."
        )
    interval = _binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value of McNemar's paired test (1947).

    The test uses only the images on which exactly one model is correct. If both models
    were equally good, each of the two would be correct on half of these images. The
    p-value is that of the exact binomial test, without a chi-squared approximation.

    Args:
        only_first: number of images that only the first model classifies correctly.
        only_second: number of images that only the second model classifies correctly.

    Returns:
        A value in (0, 1]; 1 if there are no such images.

    Raises:
        ValueError: a count is negative.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(
            f"The counts must be >= 0. Received: {only_first} and {only_second}."
        )
    trials = only_first + only_second
    # SciPy does not accept 0 trials.
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
