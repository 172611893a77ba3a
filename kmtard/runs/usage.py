"""What a run used of its machine. Damaged values in events are skipped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kmtard.runs.documents import number, positive, table
from kmtard.runs.formats import duration
from kmtard.runs.phase import Series

SYSTEM = "system"
"""The event of a measurement."""

NAMES = (
    *("cpu", "memory", "machine_memory"),
    *("gpu", "gpu_memory", "gpu_memory_share", "gpu_power", "gpu_temperature"),
)
"""Values of the event: shares in %, memory in bytes, power in W, temperature in °C.

`cpu` is a share of the cores that the process may use, and `memory` its resident set.
Of several cards, `gpu` is the mean, `gpu_memory` and `gpu_power` are sums, and
`gpu_memory_share` and `gpu_temperature` are the largest ones.
"""

IDLE = 30.0
"""A card that is used less, in %, is idle."""

IDLE_SECONDS = 60.0
"""Seconds of training after which an idle card is worth a warning."""

FULL = 90.0
"""Memory that is used more, in %, is nearly full."""

GIB = 2**30


@dataclass
class Usage:
    """What a run used of its machine over time.

    Attributes:
        series: name -> one point per event, over the working seconds of the run; empty
            unless `in_detail`.
        last: the newest value of each name.
        idle_seconds: how long the card has been idle while training, until now.
        in_detail: whether to keep `series`.
    """

    series: dict[str, Series] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    idle_seconds: float = 0.0
    in_detail: bool = True

    def add(
        self, event: Mapping[str, Any], worked: float, *, is_training: bool
    ) -> None:
        """Add a `system` event.

        Args:
            event: the event.
            worked: working time of the run until then, in seconds.
            is_training: whether a network was trained in this time.
        """
        values = table(event, "metrics")
        found = {name: number(values.get(name)) for name in NAMES}
        self.last = {k: v for k, v in found.items() if v is not None and v >= 0}
        if self.in_detail:
            for name, value in self.last.items():
                series = self.series.setdefault(name, Series())
                # Damaged events may have the same time.
                series.cut(worked)
                series.add(worked, value)
        is_idle = is_training and self.last.get("gpu", FULL) < IDLE
        seconds = positive(event.get("seconds")) or 0.0
        self.idle_seconds = self.idle_seconds + seconds if is_idle else 0.0

    def warnings(self) -> list[str]:
        """Return what slows or endangers the run now, in words."""
        lines = []
        if self.idle_seconds >= IDLE_SECONDS:
            lines.append(
                f"The GPU idles: {self.last['gpu']:.0f} % used, below {IDLE:.0f} % for "
                f"{duration(self.idle_seconds)} of training. Larger batches or faster "
                "data may help."
            )
        if (share := self.last.get("machine_memory", 0.0)) > FULL:
            own = self.last.get("memory", 0.0) / GIB
            lines.append(
                f"The memory of the machine is {share:.0f} % full; this run uses "
                f"{own:.1f} GiB."
            )
        if (share := self.last.get("gpu_memory_share", 0.0)) > FULL:
            own = self.last.get("gpu_memory", 0.0) / GIB
            lines.append(f"The memory of the GPU is {share:.0f} % full: {own:.1f} GiB.")
        return lines
