"""What a diagnostic returns."""

from __future__ import annotations

from typing import Any, NamedTuple


class Finding(NamedTuple):
    """A reason to doubt the numbers of an evaluation.

    Attributes:
        name: of the diagnostic, such as "zero-gradients".
        message: what was found, what it means for the numbers, and what to do.
    """

    name: str
    message: str


Findings = list[Finding]


def when(condition: Any, name: str, message: str) -> Findings:
    """Return the finding if the condition holds."""
    return [Finding(name, message)] if condition else []
