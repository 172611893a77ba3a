"""Tests of data that have nothing to do with Keras run once, not on every backend."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

USE_KERAS = {"test_pipeline.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        return
    skip = pytest.mark.skip(reason="runs once, with KERAS_BACKEND=tensorflow")
    for item in items:
        if (
            item.path.parent == Path(__file__).parent
            and item.path.name not in USE_KERAS
        ):
            item.add_marker(skip)
