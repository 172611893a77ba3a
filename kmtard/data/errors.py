"""The error of data that cannot be had."""

from __future__ import annotations

from kmtard.runs.files import RunError


class DataError(RunError):
    """A data set's files are missing, damaged or not to be written; the text says."""
