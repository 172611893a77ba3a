"""The error for data that cannot be read or prepared."""

from __future__ import annotations

from kmtard.runs.files import RunError


class DataError(RunError):
    """A data set's files are missing or damaged, or cannot be written."""
