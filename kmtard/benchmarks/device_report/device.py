"""List the devices, the processor, and the versions of relevant packages."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from kmtard import backend
from kmtard.benchmarks.device_report.scale import Scale

QUERIED = "name,driver_version,memory.total,power.limit,clocks.max.sm,compute_cap"
PACKAGES = ("jax", "keras", "kmtard", "ml_dtypes", "numpy", "tensorflow", "torch")
FAMILIES = ("jax", "nvidia-", "pytorch-triton", "triton")
"""Packages with these prefixes are listed too: CUDA, cuDNN, compilers."""


def rows(scale: Scale) -> Iterator[dict[str, Any]]:
    """Yield the devices, the GPUs, the processor, and the versions."""
    del scale
    yield {"case": "devices", "devices": backend.devices()}
    yield {"case": "nvidia-smi", "cards": _cards()}
    yield {
        "case": "processor",
        "name": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
    }
    yield {
        "case": "versions",
        "python": platform.python_version(),
        "versions": _versions(),
    }


def _cards() -> list[dict[str, str]]:
    """Return what nvidia-smi reports about each GPU; empty without nvidia-smi."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    process = subprocess.run(
        [command, f"--query-gpu={QUERIED}", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        timeout=20,
    )
    return [
        dict(zip(QUERIED.split(","), map(str.strip, line.split(",")), strict=False))
        for line in process.stdout.splitlines()
    ]


def _processor() -> str:
    # psutil does not know the name of a processor.
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    return names[0].strip() if names else platform.processor()


def _versions() -> dict[str, str]:
    names = {each.name: each.version for each in metadata.distributions() if each.name}
    return {
        name: version
        for name, version in sorted(names.items())
        if name in PACKAGES or name.startswith(FAMILIES)
    }
