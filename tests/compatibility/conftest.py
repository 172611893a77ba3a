"""Copies of what earlier versions wrote."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

OLD = Path(__file__).parents[1] / "fixtures" / "v0_1"


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of version 0.1.0, in a working folder that a test may change."""
    folder = shutil.copytree(OLD, tmp_path / "v0_1")
    # The recipes name their folders from here.
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def expected() -> dict[str, Any]:
    """What the code that wrote the files read from them."""
    return json.loads((OLD / "expected.json").read_text())
