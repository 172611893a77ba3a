"""Measure a device in a few minutes, with one command.

`kmtard benchmark --device-report FILE` runs the parts in `PARTS` in a separate process
(`worker`), writes their results to a JSON file after each row (`report`), and shows one
table (`table`). A part is a module with a function `rows(scale)`, which yields each
result as soon as it is available. A part that fails or runs out of time keeps its
earlier rows. All parts run our step through Keras. The part `rival` also starts a
process with the plain PyTorch step.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console

from kmtard.benchmarks.device_report.report import Report, RunError, run
from kmtard.benchmarks.device_report.table import table
from kmtard.registry import nearest

PARTS = {
    "device": 10.0,
    "step": 45.0,
    "rival": 75.0,
    "program": 20.0,
    "autoattack": 45.0,
    "golden": 45.0,
}
"""Part -> its share of the time, in the order in which the parts run."""

BACKENDS = ("jax", "tensorflow", "torch")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the report to the command's."""
    group = parser.add_argument_group("device report")
    group.add_argument(
        "--device-report",
        metavar="FILE",
        type=os.path.expanduser,
        help="measure this device with all parts instead, and write FILE as JSON",
    )
    group.add_argument(
        "--parts",
        help=f"parts to run, separated by commas (default: {','.join(PARTS)})",
    )
    group.add_argument(
        "--minutes",
        type=float,
        default=4.0,
        help="time limit for all parts together (default: 4)",
    )
    group.add_argument(
        "--miniature",
        action="store_true",
        help="use tiny networks, only to check that every part runs; always the case "
        "without a GPU",
    )


def main(arguments: argparse.Namespace) -> int:
    """Write and show a report.

    Args:
        arguments: the options of `kmtard benchmark`.

    Returns:
        The exit code. 0: no part failed, although some may have run out of time. 1: a
        part failed. 2: the arguments are wrong.
    """
    names = arguments.parts.split(",") if arguments.parts else list(PARTS)
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        return _refuse(
            f"--parts: expected names from {', '.join(PARTS)}. "
            f"Received: {unknown[0]!r}.",
            nearest(unknown[0], PARTS),
        )
    if not arguments.minutes > 0:
        return _refuse(f"--minutes must be > 0. Received: {arguments.minutes}.")
    backend = arguments.backend or os.environ.get("KERAS_BACKEND") or "jax"
    if backend not in BACKENDS:
        return _refuse(
            f"KERAS_BACKEND: expected one of {', '.join(BACKENDS)}. "
            f"Received: {backend!r}.",
            nearest(backend, BACKENDS),
        )
    shares = {name: PARTS[name] for name in dict.fromkeys(names)}
    try:
        report = Report(Path(arguments.device_report), backend, list(shares))
        command = [sys.executable, "-m", f"{__name__}.worker", backend]
        command += ["miniature"] if arguments.miniature else ["auto"]
        run(report, command, shares, seconds=60 * arguments.minutes)
    except RunError as error:
        return _refuse(str(error))
    Console().print(table(report.document))
    return int(any(p["state"] == "failed" for p in report.document["parts"].values()))


def _refuse(message: str, hint: str | None = None) -> int:
    sys.stderr.write(message + (f" Did you mean {hint}?" if hint else "") + "\n")
    return 2
