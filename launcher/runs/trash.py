"""Runs that are put away, brought back or given another name."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from kmtard.runs import Run, RunError, safe_name
from kmtard.runs.signals import refusal

FOLDER = ".trash"


def delete(run: Run) -> Path:
    """Move a run to `.trash` beside it; return where it is now.

    Raises:
        RunError: a process works on it, or the folder cannot be written.
    """
    with _idle(run), _said(run.path):
        trash = run.path.parent / FOLDER
        trash.mkdir(exist_ok=True)
        return _move(run.path, trash)


def restore(path: Path) -> Run:
    """Move a run out of the trash; return it, with a number if its name is taken.

    Raises:
        RunError: it is not there, or the folder cannot be written.
    """
    with _said(path):
        return Run(_move(path, path.parent.parent))


def trashed(runs_dir: Path) -> list[Path]:
    """Return the runs in the trash, the last deleted first."""
    try:
        paths = list((runs_dir / FOLDER).iterdir())
        # Moving a folder changes its time of change, and nothing else's.
        return sorted(paths, key=lambda path: -path.lstat().st_ctime_ns)
    except OSError:
        return []


def rename(run: Run, name: str) -> Run:
    """Give a run another name, as far as `safe_name` lets it; return it.

    Raises:
        RunError: a process works on it, the name is taken, or the folder cannot be
            written.
    """
    target = run.path.with_name(safe_name(name))
    with _idle(run), _said(run.path):
        if os.path.lexists(target):
            raise RunError(f"There is a run {target.name} already.")
        os.rename(run.path, target)
    return Run(target)


def check_idle(run: Run) -> None:
    """Raise RunError if a process works on a run, or may do so on another host."""
    with _idle(run):
        pass


def _move(path: Path, folder: Path) -> Path:
    for number in itertools.count(1):
        target = folder / (path.name if number == 1 else f"{path.name}-{number}")
        if not os.path.lexists(target):
            break
    os.rename(path, target)
    return target


@contextlib.contextmanager
def _idle(run: Run) -> Iterator[None]:
    """Keep new owners away; raise RunError if there is one."""
    state = run.state()
    if state == "remote":
        raise RunError(refusal(run, state))
    if state == "running":
        raise RunError(f"{run.name} is running: stop it first.")
    try:
        # The lock of `Run.claim`: its owner may not have said yet that it runs.
        descriptor = os.open(run.path / ".lock", os.O_RDWR)
    except FileNotFoundError:
        yield
        return
    except OSError as error:
        raise RunError(
            f"Cannot open {run.path / '.lock'}: {error.strerror}."
        ) from error
    try:
        with _in_use(run):
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _in_use(run: Run) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"{run.name}: a process uses this folder.") from error


@contextlib.contextmanager
def _said(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"Cannot move {path}: {error.strerror}.") from error
