"""What all measurements share."""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

from kmtard.training.startup import silent_native_code


def keras_on(backend: str | None) -> Any:
    """Import Keras on a backend, the configured one if None."""
    if backend:
        os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with silent_native_code():
        import keras

    return keras


def seconds(run: Callable[[int], None], count: int) -> float:
    """Return the seconds of one repetition.

    Args:
        run: repeats the work as often as it is told, and waits for the device.
        count: how often, >= 1.
    """
    began = time.perf_counter()
    run(count)
    return (time.perf_counter() - began) / count


def median_seconds(
    run: Callable[[int], None], *, repeats: int, lasting: float
) -> tuple[float, int]:
    """Return the median seconds of one repetition, and how many make a measurement.

    Args:
        run: as in `seconds`; what it does only once must be done already.
        repeats: measurements, >= 1.
        lasting: about how many seconds a measurement takes.
    """
    count = max(1, round(lasting / seconds(run, 1)))
    return statistics.median(seconds(run, count) for _ in range(repeats)), count


def peak_host_memory() -> float:
    """Return the most memory that the process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
