"""The command lines that the user interface runs, as one could type them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path


def fit_command(
    recipe: Path,
    *,
    method: str | None = None,
    overrides: Sequence[str] = (),
    smoke: bool = False,
) -> list[str]:
    """Return the command that trains what a recipe says.

    Args:
        recipe: the TOML file.
        method: the student's method; the file's if left out.
        overrides: `table.key=value`, as in TOML.
        smoke: few images, two epochs.
    """
    command = _module("kmtard.fit", str(recipe))
    if method is not None:
        command += ["--method", method]
    for override in overrides:
        command += ["--set", override]
    return [*command, "--smoke"] if smoke else command


def dry_run_command(
    recipe: Path,
    *,
    method: str | None = None,
    overrides: Sequence[str] = (),
    smoke: bool = False,
) -> list[str]:
    """Return the command that shows what `fit_command` would do."""
    command = fit_command(recipe, method=method, overrides=overrides, smoke=smoke)
    return [*command, "--dry-run"]


def resume_command(run: Path) -> list[str]:
    """Return the command that goes on with a run."""
    return _module("kmtard.fit", "--resume", str(run))


def evaluate_command(
    run: Path, attacks: Sequence[str] = (), suite: str | None = None
) -> list[str]:
    """Return the command that judges a run's best student.

    Args:
        run: its folder.
        attacks: names of the registry; the recipe's where there is no suite either.
        suite: attacks that belong together, as "paper".
    """
    command = _module("kmtard.evaluate", str(run))
    if attacks:
        command += ["--attacks", ",".join(attacks)]
    return command if suite is None else [*command, "--suite", suite]


def command_text(argv: Sequence[str]) -> str:
    """Return a command as one types it in a shell, where this Python is `python`."""
    words = ["python" if word == sys.executable else word for word in argv[:1]]
    return shlex.join([*words, *argv[1:]])


def _module(name: str, *words: str) -> list[str]:
    return [sys.executable, "-m", name, *words]
