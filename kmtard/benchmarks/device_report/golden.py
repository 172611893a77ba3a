"""The golden tests on this device: float32 with full-precision products."""

from __future__ import annotations

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
"""Of most of these tests, absolute and relative."""

_OUTCOME = re.compile(r"^(\S+?)::.* (PASSED|FAILED|SKIPPED|ERROR)\b")
_FAILURE = re.compile(r"^(?:FAILED|ERROR) (\S+::.*)$")


def rows(scale: Scale) -> Iterator[dict[str, Any]]:
    """Yield the counts of each file, then what failed.

    The tests themselves ask the backends for full precision (`tests/conftest.py`).
    """
    if not (ROOT / "tests" / "golden").is_dir():
        yield {"case": "left out", "reason": f"{ROOT} is no checkout: no tests/golden"}
        return
    files = [f"{TESTS}/{name}" for name in scale.golden]
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *files]
    # These tests need no plug-in, and one that is installed may be broken.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    if not scale.miniature:
        # The tests' own flags make XLA compile quickly for a CPU and run slowly.
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
    """Turn pytest's verbose output into a row for each file, and one for failures."""
    name, counts = "", Counter[str]()
    failures = []
    for line in lines:
        if failed := _FAILURE.match(line.rstrip()):
            failures.append(failed[1])
        elif found := _OUTCOME.match(line):
            if name and found[1] != name:
                yield _row(name, counts)
                counts = Counter()
            name = found[1]
            counts[found[2]] += 1
    if name:
        yield _row(name, counts)
    if failures:
        yield {"case": "failed", "tolerance": TOLERANCE, "tests": failures}


def _row(name: str, counts: Counter[str]) -> dict[str, Any]:
    return {
        "case": Path(name).stem,
        "passed": counts["PASSED"],
        "failed": counts["FAILED"] + counts["ERROR"],
        "skipped": counts["SKIPPED"],
    }
