"""The comparison with plain PyTorch as one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table with one line per row of `kmtard.benchmarks.against.rows`."""
    errors = sorted({row["compile_error"] for row in rows if row["compile_error"]})
    threads = {row["threads"] for row in rows} - {None}
    ours = "".join(f", ours with --threads {number}" for number in sorted(threads))
    shown = Table(
        title=f"Our time per batch against plain PyTorch{ours}",
        box=None,
        # Narrow, to fit into a terminal with 80 columns.
        padding=(0, 1, 0, 0),
        caption="Medians of rounds in turns. /eager, /compiled: our time / that of "
        "plain PyTorch in the same round, median (lowest-highest); cpu: the same for "
        "processor time; step: a B-MTARD step; apgd: 20 steps on the cross-entropy."
        + "".join(f" torch.compile failed: {error}" for error in errors),
    )
    for name in ("net", "work", "backend"):
        shown.add_column(name)
    for name in ("ours ms", "eager", "compiled", "/eager", "cpu", "/compiled", "cpu"):
        shown.add_column(name, justify="right")
    for row in rows:
        milliseconds = (
            f"{1e3 * row['seconds'][kind]:.1f}" if kind in row["seconds"] else "-"
            for kind in ("ours", "eager", "compiled")
        )
        ratios = (
            text
            for kind in ("eager", "compiled")
            for text in (_spread(row["ratio"], kind), _median(row["cpu_ratio"], kind))
        )
        shown.add_row(row["net"], row["work"], row["backend"], *milliseconds, *ratios)
    return shown


def _spread(ratios: Mapping[str, Mapping[str, float]], kind: str) -> str:
    if kind not in ratios:
        return "-"
    found = ratios[kind]
    return f"{found['median']:.2f} ({found['low']:.2f}-{found['high']:.2f})"


def _median(ratios: Mapping[str, Mapping[str, float]], kind: str) -> str:
    return f"{ratios[kind]['median']:.2f}" if kind in ratios else "-"
