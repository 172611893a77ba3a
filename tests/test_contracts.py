"""The import contracts: a module that is missing from the layers fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once("torch")

ROOT = Path(__file__).parents[1]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("kmtard", "launcher"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_a_stray_module_is_refused_and_without_it_the_contracts_hold(
    copy: Path,
) -> None:
    stray = copy / "kmtard" / "stray.py"
    stray.write_text('"""A module that no layer names."""\n')
    done = lint(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "kmtard.stray" in done.stdout
    stray.unlink()
    done = lint(copy)
    assert done.returncode == 0, done.stdout + done.stderr


def test_imports_upwards_are_refused(copy: Path) -> None:
    upwards = {
        "kmtard/losses.py": "import kmtard.methods",
        "kmtard/runs/folder.py": "import numpy",
        "kmtard/attacks/noise.py": "import kmtard.recipe",
        "launcher/main.py": "import kmtard.commands.fit",
    }
    for module, statement in upwards.items():
        path = copy / module
        path.write_text(path.read_text() + f"\n{statement}\n")
    done = lint(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    for module in upwards:
        assert module.removesuffix(".py").replace("/", ".") in done.stdout
