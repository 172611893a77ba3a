"""The requirements without TensorFlow are those of the package, less a few."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TENSORFLOW_ONLY = {
    "importlib_resources",
    "requests",
    "tensorflow>=2.21",
    "tensorflow-datasets>=4.9.10",
}

pytestmark = pytest.mark.once("torch")


def test_requirements_without_tensorflow() -> None:
    lines = (ROOT / "docs" / "requirements-without-tensorflow.txt").read_text()
    listed = [line for line in lines.splitlines() if not line.startswith("#")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert sorted(listed) == sorted({*project["dependencies"]} - TENSORFLOW_ONLY)
