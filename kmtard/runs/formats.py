"""Numbers and times as text, the same in all tables, screens and messages."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

ABSENT = "-"
"""The text for a value that is unknown."""

MINUTE, HOUR, DAY = 60, 3600, 86400

FULL, EMPTY = "━", "─"
HEIGHTS = "▁▂▃▄▅▆▇█"


def percent(share: float | None) -> str:
    """Return a share in [0, 1] as a percentage with two decimals; None gives a dash.

    Example:
        >>> percent(0.98889), percent(None)
        ('98.89', '-')
    """
    return ABSENT if share is None else f"{100 * share:.2f}"


def points(share: float | None, baseline: float | None) -> str:
    """Return the difference of two shares in percentage points, with its sign.

    Example:
        >>> points(0.5, 0.48), points(0.5, None)
        ('+2.00', '-')
    """
    if share is None or baseline is None:
        return ABSENT
    return f"{100 * (share - baseline):+.2f}"


def deviation(shares: Sequence[float]) -> str:
    """Return the standard deviation (n - 1) of shares in %; a dash for fewer than two.

    Args:
        shares: each in [0, 1].
    """
    return percent(statistics.stdev(shares)) if len(shares) > 1 else ABSENT


def mean_and_deviation(shares: Sequence[float]) -> str:
    """Return `mean ± deviation` of shares in %.

    One share gives its value only, and no share gives a dash.

    Args:
        shares: each in [0, 1].

    Example:
        >>> mean_and_deviation([0.4, 0.5]), mean_and_deviation([0.4])
        ('45.00 ± 7.07', '40.00')
    """
    if not shares:
        return ABSENT
    mean = percent(statistics.mean(shares))
    return f"{mean} ± {deviation(shares)}" if len(shares) > 1 else mean


def figure(value: float | None) -> str:
    """Return a count or a time with three significant digits; whole from 100.

    Example:
        >>> figure(1.2345), figure(12345.6), figure(None)
        ('1.23', '12346', '-')
    """
    if value is None:
        return ABSENT
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def counted(count: int, noun: str) -> str:
    """Return a number of things.

    Example:
        >>> counted(1, "run"), counted(2, "run")
        ('1 run', '2 runs')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration(seconds: float) -> str:
    """Return a duration in at most seven characters.

    Example:
        >>> duration(12), duration(3900), duration(0)
        ('12s', '1h 05m', '-')
    """
    whole = int(seconds)
    if whole >= 100 * DAY:
        return f"{whole // DAY}d"
    if whole >= DAY:
        return f"{whole // DAY}d {whole % DAY // HOUR:02}h"
    if whole >= HOUR:
        return f"{whole // HOUR}h {whole % HOUR // MINUTE:02}m"
    if whole >= MINUTE:
        return f"{whole // MINUTE}m {whole % MINUTE:02}s"
    return f"{whole}s" if seconds else ABSENT


def bar(share: float, width: int) -> str:
    """Return a share in [0, 1] as a bar of characters. It is full only if all is done.

    Example:
        >>> bar(0.5, 8), bar(0.999, 8)
        ('━━━━────', '━━━━━━━─')
    """
    full = max(0, min(width, int(width * share)))
    return FULL * full + EMPTY * (width - full)


def sparkline(values: Sequence[float], width: int) -> str:
    """Return a curve in one line, from the lowest to the highest value.

    Args:
        values: at equal distances. Of several values in one character, the last counts.
        width: largest number of characters.

    Example:
        >>> sparkline([0.1, 0.2, 0.4, 0.8], 10)
        '▁▂▄█'
    """
    count = min(len(values), width)
    kept = [values[len(values) * (place + 1) // count - 1] for place in range(count)]
    if len(kept) < 2:
        return ""
    low, high = min(kept), max(kept)
    if high == low:
        return HEIGHTS[len(HEIGHTS) // 2] * len(kept)
    steps = len(HEIGHTS) - 1
    return "".join(
        HEIGHTS[round(steps * (value - low) / (high - low))] for value in kept
    )


def day(moment: float) -> str:
    """Return a time in UNIX seconds as local time, such as `24 Nov 10:30`."""
    try:
        local = time.localtime(moment)
        return time.strftime("%d %b %H:%M", local) if moment else ABSENT
    except (OverflowError, ValueError, OSError):
        return ABSENT


def radius_text(epsilon: float | None) -> str:
    """Return the radius of an attack's ball, as `n/255` if it is a multiple of 1/255.

    Example:
        >>> radius_text(8 / 255), radius_text(0.1), radius_text(None)
        ('8/255', '0.1', '')
    """
    if epsilon is None:
        return ""
    steps = round(255 * epsilon)
    is_short = round(epsilon, 2) == epsilon
    if not is_short and steps and abs(255 * epsilon - steps) < 1e-3:
        return f"{steps}/255"
    return f"{epsilon:.4g}"
