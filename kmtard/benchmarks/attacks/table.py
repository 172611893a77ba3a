"""The comparison with other packages as one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table with one line per row of `kmtard.benchmarks.attacks.rows`."""
    backends = sorted({row["backend"] for row in rows})
    shown = Table(
        title="Processor seconds of attacks on the same weights, one thread",
        box=None,
        # Narrow, to fit into a terminal with 80 columns.
        padding=(0, 1, 0, 0),
        caption="cold: the first run in a new process, ours without and with compiled "
        "programs in the cache; warm: median of later runs; ratio: our warm time / "
        "that of the package in the same round, median (lowest-highest); eps: radius; "
        "rob. %: accuracy under the attack."
        + "".join(f" Our backend: {name}." for name in backends),
    )
    for name in ("net", "eps", "attack", "by"):
        shown.add_column(name)
    for name in ("cold", "warm", "ratio", "rob. %"):
        shown.add_column(name, justify="right")
    for row in rows:
        ours = row["ours"]
        shown.add_row(
            row["net"],
            f"{row['epsilon']:.3f}",
            row["attack"],
            "kmtard",
            f"{ours['empty_cache']:.1f}, {ours['cold']:.1f}",
            f"{ours['warm']:.1f}",
            "",
            f"{100 * ours['robust']:.1f}",
        )
        for name, theirs in row["packages"].items():
            shown.add_row(
                *("", "", "", name),
                f"{theirs['cold']:.1f}",
                f"{theirs['warm']:.1f}",
                _spread(theirs["ratio"]),
                f"{100 * theirs['robust']:.1f}",
            )
    return shown


def _spread(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})"
