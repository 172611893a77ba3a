"""Measurements with a fake clock that only advances when work is done."""

import time

import pytest

from kmtard.benchmarks import timing

pytestmark = pytest.mark.once("torch")


@pytest.fixture
def work(monkeypatch):
    """A run whose step takes 0.25 s, and the counts that it was called with."""
    now, counts = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def run(count):
        counts.append(count)
        now[0] += 0.25 * count

    return run, counts


def test_seconds_of_a_repetition(work):
    assert timing.seconds(work[0], 8) == 0.25


@pytest.mark.parametrize(("lasting", "count"), [(2.0, 8), (0.01, 1)])
def test_a_measurement_lasts_as_long_as_wanted(work, lasting, count):
    run, counts = work
    found = timing.median_seconds(run, repeats=3, lasting=lasting)
    assert found == (0.25, count)
    assert counts == [1, count, count, count]


def test_memory_of_the_process():
    assert timing.peak_host_memory() > 10
