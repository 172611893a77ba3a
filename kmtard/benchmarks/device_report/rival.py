"""Compare our step with the same step in plain PyTorch, alternating on one device."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Iterator
from typing import Any

import keras

from kmtard.benchmarks.device_report.rival_process import Rival
from kmtard.benchmarks.device_report.scale import Case, Scale, computing_in, networks
from kmtard.benchmarks.timing import median_seconds, seconds
from kmtard.benchmarks.workload import distiller, random_batch, stepper

GOAL = 0.8
"""Our goal: at most this share of the compiled rival's time, in mixed_bfloat16."""


def rows(scale: Scale) -> Iterator[dict[str, Any]]:
    """Yield our times, the rival's times and their ratios for each precision."""
    for case in scale.rivals:
        with Rival(scale, case) as rival:
            yield _compare(scale, case, rival)


def _compare(scale: Scale, case: Case, rival: Rival) -> dict[str, Any]:
    with computing_in(case.precision):
        model, callbacks = distiller(
            networks(scale, case), pgd_steps=scale.pgd_steps, unroll=case.unroll
        )
        run = stepper(model, callbacks, random_batch(scale.shape, case.batch_size))
        # The first call of each step includes compilation.
        first = {"ours": seconds(run, 1)}
        first |= {kind: rival.seconds(kind, 1) for kind in ("eager", "compiled")}
        for kind in ("eager", "compiled"):
            rival.seconds(kind, 2)
        _, count = median_seconds(run, repeats=1, lasting=scale.lasting)
        times: dict[str, list[float]] = {kind: [] for kind in first}
        for _ in range(scale.repeats):
            times["ours"].append(seconds(run, count))
            for kind in ("eager", "compiled"):
                times[kind].append(rival.seconds(kind, count))
    del model, callbacks, run
    keras.utils.clear_session()
    gc.collect()
    ratios = {
        kind: statistics.median(
            ours / theirs
            for ours, theirs in zip(times["ours"], times[kind], strict=True)
        )
        for kind in ("eager", "compiled")
    }
    return {
        "case": "rival",
        **vars(case),
        "compiler": rival.compiler,
        "rival_device": rival.device,
        "rounds": scale.repeats,
        "first_seconds": first,
        "seconds": {kind: statistics.median(values) for kind, values in times.items()},
        "ratio_to_eager": ratios["eager"],
        "ratio_to_compiled": ratios["compiled"],
        "goal": GOAL if case.precision == "mixed_bfloat16" else None,
    }
