from __future__ import annotations

from itertools import pairwise

import pytest

from launcher.widgets.axes import even_scale, log_scale


def distances(ticks):
    return {b - a for (_, a), (_, b) in pairwise(ticks)}


@pytest.mark.parametrize("cells", [6, 9, 24, 57])
@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 1), (-1e-9, 1e-9), (1e299, 2e299), (77, 77.002), (-3.7, 96.4), (0.1, 0.7)],
)
def test_ticks_are_evenly_spaced_and_told_apart(low, high, cells):
    scale = even_scale(low, high, cells, 4, apart=2, is_centered=True)
    labels = [label for label, _ in scale.ticks]

    assert (
        len(distances(scale.ticks)) <= 1 and min(distances(scale.ticks), default=2) > 1
    )
    assert len(set(labels)) == len(labels) >= 1
    # Every value has a dot, and a tick is in the cell of its value.
    assert 0 <= scale.dot(low) < scale.dot(high) < 4 * cells
    for label, cell in scale.ticks:
        assert scale.dot(float(label)) // 4 == cell


def test_values_fill_a_low_plot():
    scale = even_scale(28.7, 96.3, 6, 4, apart=2, is_centered=True)

    assert scale.ticks == (("30", 0), ("60", 2), ("90", 4))
    assert scale.dot(96.3) - scale.dot(28.7) > 0.7 * 24


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (2, ["1", "2"]),
        (4, ["1", "2", "3", "4"]),
        (60, ["10", "20", "30", "40", "50", "60"]),
    ],
)
def test_epochs_are_whole(last, expected):
    scale = even_scale(1, last, 77, 2, apart=12, least=1.0)

    assert [label for label, _ in scale.ticks] == expected
    assert scale.dot(1) == 0


def test_no_tick_between_epochs_where_there_is_none():
    assert even_scale(1.2, 1.8, 60, 2, apart=12, least=1.0).ticks == ()


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1e-4, 1.0, ["0.0001", "0.001", "0.01", "0.1", "1"]),
        (0.05, 4.0, ["0.05", "0.1", "0.2", "0.5", "1", "2"]),
        (1e-300, 1e300, None),
    ],
)
def test_ticks_of_a_logarithmic_scale(low, high, expected):
    scale = log_scale(low, high, 30, 4, apart=3)
    labels = [label for label, _ in scale.ticks]

    assert labels == expected or expected is None
    assert len(labels) >= 2
    assert 0 <= scale.dot(low) < scale.dot(high) <= 119
    assert scale.value(scale.exact(low)) == pytest.approx(low)
    if high / low > 1e3:
        assert len(distances(scale.ticks)) == 1


def test_values_close_together_have_ticks_on_a_logarithmic_scale():
    labels = [label for label, _ in log_scale(91.0, 96.0, 20, 4, apart=3).ticks]

    assert len(labels) >= 3 and all(91 <= float(label) <= 96 for label in labels)
