"""Time one B-MTARD step and compare it with the sum of the passes in it."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
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


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one network on one backend.

    Each measurement times whole steps through `fit` and then each pass alone, so that
    both run under the same load of the machine. The floor is the sum of the passes: 10
    gradients with respect to the images, 2 training passes and 2 passes of a teacher.

    Args:
        arguments: the options of `kmtard benchmark`.

    Returns:
        Medians in seconds, `ratio` (median of step / floor), images per second, and the
        peak memory in MiB.
    """
    keras = keras_on(arguments.backend)
    setting = NETS[arguments.net]
    batch_size = arguments.batch_size or setting.batch_size
    steps = arguments.steps or setting.steps
    step, passes = _workload(arguments, setting, batch_size)
    began = time.perf_counter()
    step(1)
    first = time.perf_counter() - began
    memory = peak_host_memory()
    for run, _ in passes.values():
        run(1)
    times: dict[str, list[float]] = {name: [] for name in ("step", *passes)}
    for _ in range(arguments.repeats):
        times["step"].append(seconds(step, steps))
        for name, (run, count) in passes.items():
            times[name].append(count * seconds(run, steps))
    floors = [sum(parts) for parts in zip(*(times[p] for p in passes), strict=True)]
    step_time = statistics.median(times["step"])
    return {
        "net": arguments.net,
        "backend": keras.backend.backend(),
        "batch_size": batch_size,
        "step_seconds": step_time,
        "floor_seconds": statistics.median(floors),
        "ratio": statistics.median(
            s / f for s, f in zip(times["step"], floors, strict=True)
        ),
        "passes_seconds": {name: statistics.median(times[name]) for name in passes},
        "images_per_second": batch_size / step_time,
        "first_step_seconds": first,
        "peak_memory_mib": memory,
    }


def _workload(
    arguments: argparse.Namespace, setting: Setting, batch_size: int
) -> tuple[Callable[[int], None], dict[str, tuple[Callable[[int], None], int]]]:
    import keras

    from kmtard import backend, losses, registry
    from kmtard.benchmarks.workload import CLASSES, PGD_STEPS, distiller, random_batch

    x, y = random_batch(setting.shape, batch_size)
    make = registry.resolve("networks", setting.network)
    networks = [make(CLASSES, setting.shape) for _ in range(4)]
    unroll = {"auto": None, "yes": True, "no": False}[arguments.unroll]
    jit: Any = {"auto": "auto", "yes": True, "no": False}[arguments.jit]
    model, callbacks = distiller(networks[:3], unroll=unroll, jit=jit)
    plain = keras.Sequential([networks[3]])
    plain.compile(
        keras.optimizers.SGD(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=backend.JIT_COMPILE if jit == "auto" else jit,
    )

    def train(trained: Any, count: int, **kwargs: Any) -> None:
        images, labels = np.concatenate([x] * count), np.concatenate([y] * count)
        trained.fit(
            images, labels, batch_size=batch_size, shuffle=False, verbose=0, **kwargs
        )

    def looped(function: Callable[..., Any], *values: Any) -> Callable[[int], None]:
        tensors = [keras.ops.convert_to_tensor(value) for value in values]

        def run(count: int) -> None:
            for _ in range(count):
                result = function(*tensors)
            keras.ops.convert_to_numpy(result)

        return run

    student, teacher = networks[:2]
    gradient = backend.compile_function(
        student,
        lambda x, y: backend.input_gradient(
            lambda u: losses.cross_entropy(y, student(u, training=False)), x
        ),
    )
    forward = backend.compile_function(teacher, lambda x: teacher(x, training=False))
    return lambda count: train(model, count, callbacks=callbacks), {
        "input gradients": (looped(gradient, x, y.astype("int32")), PGD_STEPS),
        "training passes": (lambda count: train(plain, count), 2),
        "teacher passes": (looped(forward, x), 2),
    }
