"""What is wrong with a name."""

from __future__ import annotations

from collections.abc import Iterable


class RegistryError(KeyError):
    """A name that stands in no table and names no object of the user's own.

    Attributes:
        expected: what would have been right.
        received: what was found instead.
        allowed: the names of the table, where the name looked like one of them.
        nearest: the allowed name most like the received one, if any is.
        reason: why it is refused and what to do, where that is not plain.
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
        """Return sentences; a plain `KeyError` would show its arguments' repr."""
        hint = f" Did you mean {self.nearest}?" if self.nearest else ""
        allowed = f" Allowed: {', '.join(self.allowed)}." if self.allowed else ""
        reason = f" {self.reason[0].upper()}{self.reason[1:]}." if self.reason else ""
        return (
            f"Expected {self.expected}. Received: {self.received}."
            f"{reason}{hint}{allowed}"
        )
