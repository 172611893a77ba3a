"""Time one B-MTARD step, and its share of the speed of matrix products."""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass
from typing import Any

import numpy as np

from kmtard.benchmarks.timing import keras_on, peak_host_memory, seconds


@dataclass(frozen=True)
class Setting:
    """A step to time.

    Attributes:
        network: name of the network of the student and the teachers.
        shape: `(height, width, channels)` of an image.
        batch_size: images per step.
        steps: steps per measurement.
    """

    network: str
    shape: tuple[int, int, int]
    batch_size: int
    steps: int


NETS = {
    "digits": Setting("small_cnn", (8, 8, 1), batch_size=64, steps=200),
    "cifar": Setting("resnet18", (32, 32, 3), batch_size=32, steps=1),
}

MULTIPLICATIONS = 10
"""Products of matrices per measurement."""


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one network on one backend.

    Each measurement times whole steps through `fit` and then a product of large
    matrices, so that both run under the same load of the machine. The utilization is
    the share of the product's speed that the step reaches in its convolutions and dense
    layers; see `kmtard.benchmarks.flops`.

    Args:
        arguments: the options of `kmtard benchmark`.

    Returns:
        Medians in seconds, `flops` of a step, `matmul_flops_per_second`, `utilization`,
        images per second, and the peak memory in MiB.
    """
    keras = keras_on(arguments.backend)
    from kmtard import registry
    from kmtard.benchmarks.flops import step_flops
    from kmtard.benchmarks.workload import (
        CLASSES,
        MATRIX,
        PGD_STEPS,
        distiller,
        products,
        random_batch,
    )

    setting = NETS[arguments.net]
    batch_size = arguments.batch_size or setting.batch_size
    steps = arguments.steps or setting.steps
    make = registry.resolve("networks", setting.network)
    networks = [make(CLASSES, setting.shape) for _ in range(3)]
    flops = batch_size * step_flops(*networks, pgd_steps=PGD_STEPS)
    unroll = {"auto": None, "yes": True, "no": False}[arguments.unroll]
    jit: Any = {"auto": "auto", "yes": True, "no": False}[arguments.jit]
    model, callbacks = distiller(networks, unroll=unroll, jit=jit)
    x, y = random_batch(setting.shape, batch_size)

    def step(count: int) -> None:
        images, labels = np.concatenate([x] * count), np.concatenate([y] * count)
        model.fit(
            images,
            labels,
            batch_size=batch_size,
            shuffle=False,
            verbose=0,
            callbacks=callbacks,
        )

    first = seconds(step, 1)
    memory = peak_host_memory()
    multiply = products(MATRIX)
    multiply(1)
    times, speeds = [], []
    for _ in range(arguments.repeats):
        times.append(seconds(step, steps))
        speeds.append(2 * MATRIX**3 / seconds(multiply, MULTIPLICATIONS))
    step_time = statistics.median(times)
    return {
        "net": arguments.net,
        "backend": keras.backend.backend(),
        "batch_size": batch_size,
        "step_seconds": step_time,
        "flops": flops,
        "matmul_flops_per_second": statistics.median(speeds),
        "utilization": statistics.median(
            flops / time / speed for time, speed in zip(times, speeds, strict=True)
        ),
        "images_per_second": batch_size / step_time,
        "first_step_seconds": first,
        "peak_memory_mib": memory,
    }
