"""The result type of all diagnostics."""

from __future__ import annotations

from typing import Any

from kmtard.runs.results import Finding

__all__ = ["Finding", "Findings", "when"]

Findings = list[Finding]


def when(condition: Any, name: str, message: str) -> Findings:
    """Return a list with one finding if the condition is true, else an empty list."""
    return [Finding(name, message)] if condition else []
