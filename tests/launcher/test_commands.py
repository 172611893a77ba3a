"""The command lines: as the modules' own parsers take them, and as one types them."""

import shlex
import sys
from pathlib import Path

from launcher.commands import (
    command_text,
    dry_run_command,
    evaluate_command,
    fit_command,
    resume_command,
)


def test_fit_says_all_that_was_chosen() -> None:
    recipe = Path("recipes/my digits.toml")
    command = fit_command(
        recipe, method="mtard", overrides=["attack.steps=3", "a.b='x y'"], smoke=True
    )
    assert command == [
        *(sys.executable, "-m", "kmtard.fit", "recipes/my digits.toml"),
        *("--method", "mtard", "--set", "attack.steps=3", "--set", "a.b='x y'"),
        "--smoke",
    ]
    assert fit_command(recipe) == command[:4]
    assert dry_run_command(recipe, method="mtard") == [
        *command[:6],
        "--dry-run",
    ]


def test_resume_and_evaluate_name_the_folder() -> None:
    run = Path("runs/a")
    assert resume_command(run)[1:] == ["-m", "kmtard.fit", "--resume", "runs/a"]
    assert evaluate_command(run, ["fgsm", "ge"], "paper")[1:] == [
        *("-m", "kmtard.evaluate", "runs/a"),
        *("--attacks", "fgsm,ge", "--suite", "paper"),
    ]
    assert evaluate_command(run)[1:] == ["-m", "kmtard.evaluate", "runs/a"]


def test_the_text_is_what_a_shell_reads_back() -> None:
    command = fit_command(Path("my digits.toml"), overrides=['a.b="$HOME"'])
    text = command_text(command)
    assert text.startswith("python -m kmtard.fit 'my digits.toml' --set")
    assert shlex.split(text) == ["python", *command[1:]]
    assert command_text(["/bin/sh", "-c", "true"]) == "/bin/sh -c true"
