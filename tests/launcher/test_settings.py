"""What is remembered between starts."""

import os
from pathlib import Path

import pytest

from launcher.settings import Settings, config_dir, state_path


def test_values_last(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "launch.json"
    Settings(path).set("follow", False)
    assert Settings(path).get("follow", True) is False


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b"\xff\xfe", b'{"follow": 1', b"[" * 100_000]
)
def test_a_damaged_file_holds_no_values_and_can_be_written(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "launch.json"
    path.write_bytes(content)
    settings = Settings(path)
    assert settings.get("follow", True) is True
    settings.set("follow", False)
    assert settings.error is None
    assert Settings(path).get("follow", True) is False


def test_a_value_of_another_type_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "launch.json"
    path.write_text('{"follow": "yes", "strength": true}')
    assert Settings(path).get("follow", True) is True
    assert Settings(path).get("strength", 3) == 3


def test_two_user_interfaces_keep_each_other_s_values(tmp_path: Path) -> None:
    one, other = (Settings(tmp_path / "launch.json") for _ in range(2))
    one.set("wrap", True)
    other.set("follow", False)
    assert Settings(tmp_path / "launch.json").get("wrap", False) is True


def test_a_value_that_cannot_be_written_is_kept_and_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = Settings(tmp_path / "file" / "launch.json")
    settings.set("wrap", True)
    assert settings.get("wrap", False) is True
    assert settings.error is not None and "Cannot make" in settings.error


def test_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert config_dir() == tmp_path / ".config" / "kmtard"
    assert state_path() == Path(os.environ["XDG_STATE_HOME"]) / "kmtard" / "launch.json"
