"""Which GPUs there are, and the environment that gives a command one of them."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

VISIBLE = "CUDA_VISIBLE_DEVICES"
QUESTION = ("nvidia-smi", "--query-gpu=index", "--format=csv,noheader")
PATIENCE = 30.0  # seconds; the driver may have to be loaded first


def visible_gpus() -> list[str]:
    """Return the GPUs that commands may use, as CUDA names them; [] without any.

    Those of `CUDA_VISIBLE_DEVICES` if it is set, otherwise all of NVIDIA's.
    """
    chosen = os.environ.get(VISIBLE)
    if chosen is None:
        try:
            asked = subprocess.run(
                QUESTION, capture_output=True, text=True, timeout=PATIENCE, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return []
        chosen = asked.stdout.replace("\n", ",")
    return [name.strip() for name in chosen.split(",") if name.strip()]


def least_used(gpus: Sequence[str], used: Iterable[str | None]) -> str | None:
    """Return the GPU that the fewest commands have; None where there is no choice.

    Args:
        gpus: those there are.
        used: the GPU of each command that runs.
    """
    if len(gpus) < 2:
        return None
    counts = Counter(used)
    return min(gpus, key=lambda gpu: counts[gpu])


def environment_of(gpu: str | None) -> Mapping[str, str]:
    """Return the variables that let a command see one GPU alone; none for None."""
    if gpu is None:
        return {}
    # CUDA counts in another order than nvidia-smi unless it is told.
    order = {} if VISIBLE in os.environ else {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return {VISIBLE: gpu, **order}
