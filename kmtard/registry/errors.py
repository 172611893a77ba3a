"""The error for a name that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable


class RegistryError(KeyError):
    """A name that is not in a table and does not refer to code that may be used.

    Attributes:
        expected: what was expected.
        received: what was received.
        allowed: the names of the table; empty if `package.module:Object` was received.
        nearest: the allowed name most similar to the received one; None if no allowed
            name is similar.
        reason: why the name is refused and what to do; may be empty.
    """

    def __init__(
        self,
        expected: str,
        received: str,
        allowed: Iterable[str] = (),
        nearest: str | None = None,
        reason: str = "",
    ) -> None:
        super().__init__(expected, received)
        self.expected = expected
        self.received = received
        self.allowed = tuple(allowed)
        self.nearest = nearest
        self.reason = reason

    def __str__(self) -> str:
        """Return full sentences. A plain `KeyError` shows the repr of its arguments."""
        hint = f" Did you mean {self.nearest}?" if self.nearest else ""
        allowed = f" Allowed: {', '.join(self.allowed)}." if self.allowed else ""
        reason = f" {self.reason[0].upper()}{self.reason[1:]}." if self.reason else ""
        return (
            f"Expected {self.expected}. Received: {self.received}."
            f"{reason}{hint}{allowed}"
        )
