"""Run folders for the launcher, away from the user's own files."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher import poller
from tests.run_folders import evaluated, make_run, recipe_path

__all__ = ["evaluated", "make_run", "recipe_path"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's own files out of the tests."""
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "home" / variable))
    monkeypatch.delenv("NO_COLOR", raising=False)
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def steady_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read files as often on a slow machine as on a fast one."""
    monkeypatch.setattr(poller, "LONG_PAUSE", poller.PAUSE)
