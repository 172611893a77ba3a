"""Run folders to read."""

from __future__ import annotations

from tests.run_folders import evaluated, make_run

__all__ = ["evaluated", "make_run"]
