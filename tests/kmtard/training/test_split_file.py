"""A resumed run has the files with which it started."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kmtard.data.pipeline import Split
from kmtard.runs.files import RunError
from kmtard.training.split_file import keep_split

pytestmark = pytest.mark.once("jax")


def split(*files: str) -> Split:
    count = len(files) or 2
    images = np.zeros((count, 2, 2, 1), np.uint8)
    return Split(images, np.arange(count) % 2, ("cat", "a, dog"), files)


def test_the_files_are_written_once_and_checked_then(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    parts = {"train": split("a/1.png", "b/2.png"), "held_out": None}
    keep_split(path, parts)
    assert path.read_text() == (
        'split,class,file\ntrain,cat,a/1.png\ntrain,"a, dog",b/2.png\n'
    )
    keep_split(path, parts)
    with pytest.raises(RunError, match=r"(?s)1 entries are gone and 1 are new.*3.png"):
        keep_split(path, {"train": split("a/1.png", "b/3.png")})


def test_arrays_have_no_files(tmp_path: Path) -> None:
    keep_split(tmp_path / "split.csv", {"train": split()})
    assert not list(tmp_path.iterdir())
