"""Functions that all measurements share."""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

from kmtard.training.startup import keep_freed_memory, silent_native_code


def keras_on(backend: str | None) -> Any:
    """Import and return Keras with a backend; None for the configured backend."""
    if backend:
        os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    keep_freed_memory()
    with silent_native_code():
        import keras

    return keras


def seconds(run: Callable[[int], None], count: int) -> float:
    """Return the mean time of one repetition, in seconds.

    Args:
        run: function that repeats the work `count` times and waits for the device.
        count: number of repetitions, >= 1.
    """
    began = time.perf_counter()
    run(count)
    return (time.perf_counter() - began) / count


def median_seconds(
    run: Callable[[int], None], *, repeats: int, lasting: float
) -> tuple[float, int]:
    """Return the median time of one repetition, and the repetitions per measurement.

    Args:
        run: as in `seconds`. Call it once before, so that compilation is not measured.
        repeats: number of measurements, >= 1.
        lasting: approximate duration of a measurement in seconds.
    """
    count = max(1, round(lasting / seconds(run, 1)))
    return statistics.median(seconds(run, count) for _ in range(repeats)), count


def peak_host_memory() -> float:
    """Return the peak memory of this process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
