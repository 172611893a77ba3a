"""The folders of the user's own files."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtard.runs.places import config_dir, state_dir

pytestmark = pytest.mark.once("torch")


def test_they_are_where_the_user_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert config_dir() == tmp_path / "config" / "kmtard"
    assert state_dir() == tmp_path / "state" / "kmtard"
    # Nothing is made by asking.
    assert list(tmp_path.iterdir()) == []


def test_they_are_those_of_the_home_folder_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    assert config_dir() == tmp_path / ".config" / "kmtard"
    assert state_dir() == tmp_path / ".local" / "state" / "kmtard"
