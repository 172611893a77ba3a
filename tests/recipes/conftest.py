"""Generated images in place of the data sets that would be downloaded."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from kmtard.data.pipeline import DataSet, Split
from kmtard.training.estimate import KNOWN


def generated(name: str, *arguments: Any, **kwargs: Any) -> Any:
    """What `kmtard.data.prepared.load` returns, but random and small."""
    del arguments, kwargs
    facts = KNOWN[name]
    rng = np.random.default_rng(0)
    train, test = (
        Split(
            rng.integers(0, 256, (count, *facts.shape), dtype=np.uint8),
            np.arange(count) % facts.classes,
        )
        for count in (400, 200)
    )
    return DataSet(name, train, test, facts.classes)


@pytest.fixture
def generated_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every downloaded data set be `generated`, in its true shape and classes."""
    for module in ("catalog", "tiny_imagenet", "fashion_mnist"):
        home = importlib.import_module(f"kmtard.data.{module}")
        monkeypatch.setattr(home, "load", generated)
