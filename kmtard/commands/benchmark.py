"""`kmtard benchmark`: time a training step, the input pipeline, a device."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None, *, prog: str = "kmtard benchmark") -> int:
    """Run the command; return its exit code."""
    del prog
    from kmtard import benchmark

    return benchmark.main(argv)
