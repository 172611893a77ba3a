"""The commit of source files."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from kmtard.runs.revision import source_revision

pytestmark = pytest.mark.once("jax")


def git(folder: Path, *words: str) -> None:
    names = ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL")
    who = {f"GIT_{name}": "a@example.com" for name in names}
    env = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull}
    subprocess.run(
        ["git", "-C", folder, *words], env=env, check=True, capture_output=True
    )


def test_the_commit_and_whether_files_differ_from_it(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert source_revision(package) is None
    git(tmp_path, "init")
    # A repository around an installed package is not that of the package.
    assert source_revision(package) is None
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    revision = source_revision(package)
    assert revision is not None and re.fullmatch("[0-9a-f]{12}", revision)
    (package / "more.py").write_text("")
    assert source_revision(package) == revision
    (package / "__init__.py").write_text("a = 1\n")
    assert source_revision(package) == f"{revision}+"


def test_without_git_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert source_revision() is None
