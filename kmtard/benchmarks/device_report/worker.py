"""The process that runs the parts: `python -m ...worker BACKEND SIZE PART ...`.

It writes its results to stdout, one JSON object per line. The first line is
`{"miniature": true}` or `{"miniature": false}`. Each part writes its rows as
`{"part": NAME, "row": {...}}` and ends with `{"part": NAME, "state": "done"}`, or with
the state "failed" and an "error". SIZE is "miniature", or "auto" for a miniature only
on a machine without an accelerator.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from kmtard.benchmarks.timing import keras_on


def main(argv: Sequence[str]) -> int:
    """Run the parts; return the exit code."""
    name, size, *parts = argv
    # Libraries and child processes print to stdout too, which would break the protocol.
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(**message: Any) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    keras_on(name)
    from kmtard import backend
    from kmtard.benchmarks.device_report.scale import FULL, MINIATURE

    scale = MINIATURE if size == "miniature" or backend.on_cpu() else FULL
    send(miniature=scale.miniature)
    for part in parts:
        try:
            module = importlib.import_module(f"{__package__}.{part}")
            for row in module.rows(scale):
                send(part=part, row=row)
        except Exception as error:
            traceback.print_exc()
            told = f"{type(error).__name__}: {error}"
            send(part=part, state="failed", error=told)
        else:
            send(part=part, state="done")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
