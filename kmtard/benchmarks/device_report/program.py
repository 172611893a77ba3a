"""Check the compiled program of a step: host operations, and operation counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kmtard import backend
from kmtard.benchmarks import hlo
from kmtard.benchmarks.device_report.scale import Scale, computing_in, networks
from kmtard.benchmarks.flops import step_flops
from kmtard.benchmarks.workload import distiller, random_batch

TOLERANCE = 0.02
"""Allowed relative difference between the program's operations and our own count."""


def rows(scale: Scale) -> Iterator[dict[str, Any]]:
    """Yield the operations in the program of the first case.

    PyTorch has no compiled program, so only the operations that move values to or from
    the host are listed.
    """
    case = scale.cases[0]
    batch = random_batch(scale.shape, case.batch_size)
    with computing_in(case.precision):
        parties = networks(scale, case)
        model, _ = distiller(parties, pgd_steps=scale.pgd_steps, unroll=case.unroll)
        text, host = backend.step_program(model, batch)
    expected = case.batch_size * step_flops(*parties, pgd_steps=scale.pgd_steps)
    row: dict[str, Any] = {
        "case": "program",
        **vars(case),
        "compiled": text is not None,
    }
    if text is None:
        yield {**row, "host_operations": host, "stays_on_device": not host}
        return
    program = hlo.read(text)
    ratio = program.flops / expected
    yield {
        **row,
        "host_operations": list(program.host),
        "stays_on_device": not program.host,
        "flops": program.flops,
        "expected_flops": expected,
        "ratio": ratio,
        "loops_of_unknown_length": program.endless,
        "within_tolerance": abs(ratio - 1) <= TOLERANCE,
    }
