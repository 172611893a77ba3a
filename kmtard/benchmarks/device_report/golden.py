"""Run the golden tests on this device, in float32 with full-precision products."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import kmtard
from kmtard.benchmarks.device_report.scale import Scale

ROOT = Path(kmtard.__file__).parents[1]
TESTS = "tests/kmtard"
TOLERANCE = 1e-5
"""Absolute and relative tolerance of most of these tests."""

WORKERS = 16
"""Largest number of processes on the device. Most of their time is compilation."""

_OUTCOME = re.compile(r"^(?P<file>\S+?)::.* (?P<outcome>PASSED|FAILED|SKIPPED|ERROR)\b")
_OUTCOME_OF_WORKER = re.compile(
    r"^\[gw\d+\] \[ *\d+%\] (?P<outcome>PASSED|FAILED|SKIPPED|ERROR) (?P<file>\S+?)::"
)
_FAILURE = re.compile(r"^(?:FAILED|ERROR) (\S+::.*)$")


def rows(scale: Scale) -> Iterator[dict[str, Any]]:
    """Yield the number of outcomes per file, then the failed tests.

    `tests/conftest.py` sets the backends to full precision. If pytest-xdist is
    installed, several processes share the device.
    """
    if not (ROOT / "tests" / "golden").is_dir():
        reason = f"{ROOT} is not a checkout of the repository: no tests/golden"
        yield {"case": "left out", "reason": reason}
        return
    files = [f"{TESTS}/{name}" for name in scale.golden]
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *files]
    processes = min(WORKERS, os.cpu_count() or 1)
    if processes > 2 and importlib.util.find_spec("xdist"):
        command += ["-p", "xdist.plugin", "-n", str(processes)]
    # These tests need no other plugin, and an installed one may be broken.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    if not scale.miniature:
        # The flags of the tests make XLA compile fast but run slowly.
        environment["XLA_FLAGS"] = ""
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield from read(process.stdout or ())
    if process.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with exit code {process.returncode}")


def read(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Turn pytest's verbose output into one row per file and one with the failures.

    After each test, the row of its file is yielded again with `"running": True`. So a
    part that runs out of time keeps the counts so far.
    """
    counts: dict[str, Counter[str]] = {}
    failures = []
    for line in lines:
        if failed := _FAILURE.match(line.rstrip()):
            failures.append(failed[1])
        elif found := _OUTCOME.match(line) or _OUTCOME_OF_WORKER.match(line):
            name = found["file"]
            counts.setdefault(name, Counter())[found["outcome"]] += 1
            yield {**_row(name, counts[name]), "running": True}
    for name, outcomes in counts.items():
        yield _row(name, outcomes)
    if failures:
        yield {"case": "failed", "tolerance": TOLERANCE, "tests": failures}


def _row(name: str, counts: Counter[str]) -> dict[str, Any]:
    return {
        "case": Path(name).stem,
        "passed": counts["PASSED"],
        "failed": counts["FAILED"] + counts["ERROR"],
        "skipped": counts["SKIPPED"],
    }
