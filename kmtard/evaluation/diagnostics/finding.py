"""What a diagnostic returns."""

from __future__ import annotations

from typing import Any

from kmtard.runs.results import Finding

__all__ = ["Finding", "Findings", "when"]

Findings = list[Finding]


def when(condition: Any, name: str, message: str) -> Findings:
    """Return the finding if the condition holds."""
    return [Finding(name, message)] if condition else []
