"""`kmtard COMMAND` runs the commands."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import kmtard
from kmtard.commands import main as module
from kmtard.commands.main import COMMANDS, main

pytestmark = pytest.mark.once("torch")


def test_every_command_has_its_module_and_every_module_its_command() -> None:
    folder = Path(module.__file__).parent
    for name in COMMANDS:
        assert callable(import_module(f"kmtard.commands.{name}").main)
    modules = {
        path.stem
        for path in folder.glob("*.py")
        if "def main(" in path.read_text() and path.stem != "main"
    }
    assert modules == set(COMMANDS)


def test_a_command_is_given_the_rest_and_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[object] = []

    def command(argv: list[str], *, prog: str) -> int:
        given.extend([argv, prog])
        return 7

    monkeypatch.setattr("kmtard.commands.report.main", command)
    assert main(["report", "runs/a", "--format", "csv"]) == 7
    assert given == [["runs/a", "--format", "csv"], "kmtard report"]


@pytest.mark.parametrize("words", [[], ["fti"], ["--help"], ["--version"]])
def test_what_is_no_command_is_answered(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    printed = capsys.readouterr()
    if words in (["--help"], ["--version"]):
        assert ended.value.code == 0
        wanted = "kmtard fit" if "--help" in words else kmtard.__version__
        assert wanted in printed.out or "commands:" in printed.out
    else:
        assert ended.value.code == 2
        assert "usage: kmtard" in printed.err


@pytest.mark.parametrize("name", ["fit", "evaluate", "report", "benchmark"])
def test_python_m_does_the_same(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"kmtard.{name}", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"usage: python -m kmtard.{name} ")


@pytest.mark.parametrize("words", [["report"], []])
def test_python_m_of_the_package_runs_its_commands(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kmtard", *words, "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    usage = " ".join(["usage: python -m kmtard", *words])
    assert done.stdout.startswith(f"{usage} ")
    assert words or "`python -m kmtard COMMAND --help`" in done.stdout
