"""The command line of the user interface."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from kmtard.runs import Run
from launcher.main import main

HEAVY = ("keras", "tensorflow", "jax", "torch", "numpy", "matplotlib", "scipy")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "launcher.main", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_console_script_is_the_main_function() -> None:
    scripts = entry_points(group="console_scripts", name="kmtard-launch")
    if not scripts:
        pytest.skip("kmtard is not installed here")
    assert [script.load() for script in scripts] == [main]


def test_without_a_terminal_it_says_what_to_use_instead(tmp_path: Path) -> None:
    done = run("--runs", tmp_path)
    assert done.returncode == 2
    assert "expected a terminal" in done.stderr
    assert "kmtard fit RECIPE" in done.stderr


def test_the_folder_of_runs_must_not_be_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    path.write_text("")
    assert main(["--runs", str(path)]) == 2
    assert f"--runs {path}" in capsys.readouterr().err


def test_a_recipe_must_exist(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--recipe", str(tmp_path / "none.toml")]) == 2
    assert "expected a recipe or a folder" in capsys.readouterr().err


def test_a_run_to_attach_to_must_be_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--attach", str(tmp_path)]) == 2
    assert "Expected the folder of a run" in capsys.readouterr().err


def test_every_action_is_listed_as_the_file_of_keys_takes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from launcher.bindings import all_bindings
    from launcher.keys import read_keys

    assert main(["--keys"]) == 0
    path = tmp_path / "keys.toml"
    path.write_text(capsys.readouterr().out)
    keys, mistakes = read_keys(path)
    assert mistakes == []
    assert set(keys) == set(all_bindings())


def test_nothing_heavy_is_loaded_by_any_screen(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    make_run()
    script = """
import asyncio, sys
from pathlib import Path
from launcher.app import LauncherApp

async def look():
    app = LauncherApp(Path(sys.argv[1]))
    async with app.run_test() as pilot:
        for key in "231":
            await pilot.press(key)
            await pilot.pause()
        app.open_run(next(Path(sys.argv[1]).glob("digits*")))
        await pilot.pause()
        await app.workers.wait_for_complete()

asyncio.run(look())
print([name for name in sys.argv[2:] if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "runs"), *HEAVY],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "[]\n", done.stderr
