"""The console entry point."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from launcher.app import main


def test_main_names_the_command_to_use_instead(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main() == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "python -m kmtard.fit RECIPE" in captured.err


def test_console_script_is_the_main_function() -> None:
    scripts = entry_points(group="console_scripts", name="kmtard-launch")
    if not scripts:
        pytest.skip("kmtard is not installed here")
    assert [script.load() for script in scripts] == [main]
