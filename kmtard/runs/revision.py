"""The git commit of the source files that this process runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

LENGTH = 12  # hexadecimal digits
PATIENCE = 10.0  # seconds


def source_revision(folder: Path | None = None) -> str | None:
    """Return the commit of kmtard's files, with a + if they have uncommitted changes.

    Args:
        folder: a folder with an `__init__.py`; None means that of the package kmtard.

    Returns:
        A text such as `0123456789ab+`; None if the files are not in a git repository,
        for example after an installation from a package index.
    """
    folder = Path(__file__).parents[1] if folder is None else folder
    # An installed package may be inside a git repository of the user.
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = _git(folder, "rev-parse", f"--short={LENGTH}", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return None if commit is None else f"{commit}{'+' if changed else ''}"


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
