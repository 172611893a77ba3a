"""What the processes of both sides share. It imports nothing of kmtard."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable


def one_processor() -> None:
    """Keep this process on one processor, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def answer_runs(run: Callable[[], float], **ready: str) -> int:
    """Say that the process is ready, and answer until stdin ends.

    Args:
        run: attacks once and returns the robust accuracy in [0, 1].
        **ready: what to say at first.

    Returns:
        The exit code.
    """
    # Libraries print to stdout too, which must not mix with the answers.
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(**message: object) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    answer(**ready)
    for line in sys.stdin:
        _, count = json.loads(line)
        began, began_cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            robust = run()
        answer(
            seconds=(time.perf_counter() - began) / count,
            cpu_seconds=(time.process_time() - began_cpu) / count,
            robust=robust,
        )
    return 0
