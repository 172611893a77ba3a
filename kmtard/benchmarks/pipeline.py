"""Time the input pipeline: an epoch of shuffled, cropped and mirrored batches."""

from __future__ import annotations

import argparse
import itertools
import statistics
from typing import Any

import numpy as np

from kmtard.benchmarks.timing import keras_on, peak_host_memory, seconds

NAME = "data"
"""The pipeline's name in the option `--net`."""
IMAGES, IMAGE_SHAPE, IMAGE_BATCH = 50_000, (32, 32, 3), 128
CLASSES = 10


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure an epoch of shuffled, cropped and mirrored images.

    A step is one batch. The first epoch is a warm-up that is not measured.

    Args:
        arguments: the options of `kmtard benchmark`.

    Returns:
        Medians in seconds, images per second, and the peak memory in MiB.
    """
    keras = keras_on(arguments.backend)
    from kmtard.data.pipeline import Split, TrainingStream

    batch_size = arguments.batch_size or IMAGE_BATCH
    count = arguments.steps * batch_size if arguments.steps else IMAGES
    rng = np.random.default_rng(0)
    split = Split(
        rng.integers(0, 256, (count, *IMAGE_SHAPE), np.uint8),
        rng.integers(0, CLASSES, count),
    )
    stream = TrainingStream(split, batch_size=batch_size, seed=0, pad=4, flip=True)
    batches, steps = stream.dataset(), stream.steps_per_epoch

    def run(count: int) -> None:
        for _ in itertools.islice(batches, count):
            pass

    first = seconds(run, 1)
    run(steps)
    times = [seconds(run, steps) for _ in range(arguments.repeats)]
    step_time = statistics.median(times)
    return {
        "net": NAME,
        "backend": keras.backend.backend(),
        "batch_size": batch_size,
        "step_seconds": step_time,
        "images_per_second": count / (steps * step_time),
        "first_step_seconds": first,
        "peak_memory_mib": peak_host_memory(),
    }
