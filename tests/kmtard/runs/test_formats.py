"""Numbers and times as text."""

from __future__ import annotations

import pytest

from kmtard.runs.formats import (
    bar,
    day,
    deviation,
    duration,
    figure,
    mean_and_deviation,
    percent,
    points,
    sparkline,
)

pytestmark = pytest.mark.once("torch")


def test_shares_are_shown_in_percent():
    assert (percent(0.8667), percent(0.0), percent(None)) == ("86.67", "0.00", "-")


def test_differences_have_a_sign():
    assert points(0.8667, 0.85) == "+1.67"
    assert points(0.80, 0.85) == "-5.00"
    assert points(0.5, 0.5) == "+0.00"
    assert points(None, 0.5) == points(0.5, None) == "-"


def test_a_mean_has_a_deviation_where_there_are_several_values():
    assert mean_and_deviation([0.5, 0.6]) == "55.00 ± 7.07"
    assert (mean_and_deviation([0.5]), mean_and_deviation([])) == ("50.00", "-")
    assert (deviation([0.5, 0.6]), deviation([0.5])) == ("7.07", "-")


def test_figures_have_three_digits_or_are_whole():
    found = [figure(value) for value in (None, 0.0, 1.254, 99.94, 100.4, 12345.6)]
    assert found == ["-", "0", "1.25", "99.9", "100", "12346"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "-"),
        (0.4, "0s"),
        (59.9, "59s"),
        (3599, "59m 59s"),
        (3600, "1h 00m"),
        (86399, "23h 59m"),
        (90000, "1d 01h"),
        (1e7, "115d"),
    ],
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text
    assert len(text) <= 7


def test_moments_that_cannot_be_are_no_traceback():
    assert day(0) == day(1e300) == "-"
    assert len(day(1_795_520_170.0)) == 12


def test_a_bar_is_full_only_at_the_end():
    assert [bar(share, 4) for share in (0, 0.24, 0.5, 0.999, 1)] == [
        *("────", "────", "━━──", "━━━─", "━━━━"),
    ]
    assert (bar(-1, 3), bar(2, 3)) == ("───", "━━━")


def test_a_sparkline_has_the_last_value_of_each_part():
    assert sparkline([0.1, 0.2, 0.4, 0.8], 2) == "▁█"
    assert sparkline([5.0, 1.0, 3.0], 10) == "█▁▅"
    assert sparkline([0.5] * 40, 8) == "▅" * 8
    assert sparkline([], 8) == sparkline([0.5], 8) == sparkline([1.0, 2.0], 1) == ""
    assert len(sparkline([float(n) for n in range(1000)], 10)) == 10
