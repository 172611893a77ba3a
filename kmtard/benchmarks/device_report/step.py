"""Measure the B-MTARD step: time, memory, compilation, and utilization."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from typing import Any

import keras

from kmtard import backend
from kmtard.benchmarks.device_report.scale import Case, Scale, computing_in, networks
from kmtard.benchmarks.flops import step_flops
from kmtard.benchmarks.timing import median_seconds, seconds
from kmtard.benchmarks.workload import distiller, products, random_batch, stepper


def rows(scale: Scale) -> Iterator[dict[str, Any]]:
    """Yield the peak speed of matrix products for each precision, then each step."""
    peaks: dict[str, float] = {}
    for precision in dict.fromkeys(case.precision for case in scale.cases):
        peaks[precision] = matmul_peak(scale, precision)
        yield {
            "case": "matmul",
            "precision": precision,
            "rows": scale.matmul,
            "flops_per_second": peaks[precision],
        }
    for case in scale.cases:
        yield measure(scale, case, peaks[case.precision])


def matmul_peak(scale: Scale, precision: str) -> float:
    """Return the operations per second in a product of large square matrices."""
    half = precision == "mixed_bfloat16"
    with computing_in(precision):
        run = products(scale.matmul, "bfloat16" if half else "float32")
        run(3)
        best, _ = median_seconds(run, repeats=scale.repeats, lasting=scale.lasting)
    return 2 * scale.matmul**3 / best


def measure(scale: Scale, case: Case, peak: float) -> dict[str, Any]:
    """Measure one step, run through `fit`.

    Args:
        scale: sizes of the report.
        case: the step.
        peak: operations per second of matrix products in this precision.
    """
    backend.reset_peak_memory()
    before = backend.peak_memory()
    with computing_in(case.precision):
        parties = networks(scale, case)
        flops = case.batch_size * step_flops(*parties, pgd_steps=scale.pgd_steps)
        model, callbacks = distiller(
            parties, pgd_steps=scale.pgd_steps, unroll=case.unroll
        )
        run = stepper(model, callbacks, random_batch(scale.shape, case.batch_size))
        began = time.perf_counter()
        run(1)
        first = time.perf_counter() - began
        seconds(run, 2)
        step, steps = median_seconds(run, repeats=scale.repeats, lasting=scale.lasting)
        after = backend.peak_memory()
    # Free the memory for the next case.
    del model, callbacks, run, parties
    keras.utils.clear_session()
    gc.collect()
    return {
        "case": "step",
        **vars(case),
        "attack": "unrolled" if case.unroll else "looped",
        "step_seconds": step,
        "steps_per_measurement": steps,
        "images_per_second": case.batch_size / step,
        # The first call compiles and then runs one step.
        "compile_seconds": max(0.0, first - step),
        "flops": flops,
        "utilization": flops / step / peak,
        "peak_memory_mib": None if after is None else after / 2**20,
        # If the peak cannot be reset and did not grow, it is only an upper bound.
        "peak_memory_exact": after is not None and after != before,
    }
