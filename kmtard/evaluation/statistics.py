"""Statistics of correct and wrong images, of one model and of two."""

from __future__ import annotations

import math
from statistics import NormalDist


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

    `(p + z^2/2n ± z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)`, p = successes / trials.

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
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, square = successes / trials, z**2 / trials
    center = share + square / 2
    half = z * math.sqrt(share * (1 - share) / trials + square / (4 * trials))
    # At the ends of the scale the formula gives 0 and 1 but for a rounding.
    low = (center - half) / (1 + square) if successes else 0.0
    high = (center + half) / (1 + square) if successes < trials else 1.0
    return low, high


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value of McNemar's paired test (1947).

    Images on which both models do equally well say nothing; were the models equally
    good, each of the others would be a fair coin. The binomial sum is exact, whatever
    the counts: no chi-squared approximation is needed.

    Args:
        only_first: images that the first model alone gets right, >= 0.
        only_second: images that the second model alone gets right, >= 0.

    Returns:
        In (0, 1]; 1 where the models differ on no image.

    Raises:
        ValueError: a count is negative.
    """
    fewer, trials = min(only_first, only_second), only_first + only_second
    if fewer < 0:
        raise ValueError(
            f"Expected counts >= 0. Received: {only_first} and {only_second}."
        )
    term = tail = 1
    for index in range(fewer):
        term = term * (trials - index) // (index + 1)
        tail += term
    return min(1.0, 2 * tail / (1 << trials))
