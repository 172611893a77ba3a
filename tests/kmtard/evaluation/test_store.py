"""Finished batches: whole or absent, never mixed with those of other settings."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmtard.evaluation.store import BatchStore
from kmtard.runs.files import RunError

pytestmark = pytest.mark.once("torch")

INDICES = np.array([3, 5])
SETTINGS = {"seed": 0, "attack": {"epsilon": 0.1}}


def batch() -> dict[str, np.ndarray]:
    return {"indices": INDICES, "success": np.array([True, False])}


def test_batch_comes_back_as_it_was(tmp_path: Path) -> None:
    store = BatchStore(tmp_path, "pgd", SETTINGS)
    assert store.is_new
    assert store.read(0, INDICES) is None
    store.write(0, batch())
    again = BatchStore(tmp_path, "pgd", SETTINGS)
    assert not again.is_new
    found = again.read(0, INDICES)
    assert found is not None
    assert found["success"].tolist() == [True, False]
    assert again.read(1, INDICES) is None


def test_batch_of_other_images_is_none(tmp_path: Path) -> None:
    store = BatchStore(tmp_path, "pgd", SETTINGS)
    store.write(0, batch())
    assert store.read(0, np.array([3, 6])) is None
    assert store.read(0, np.array([3])) is None


def test_torn_file_is_no_batch(tmp_path: Path) -> None:
    store = BatchStore(tmp_path, "pgd", SETTINGS)
    store.write(0, batch())
    [file] = store.path.glob("*.npz")
    file.write_bytes(file.read_bytes()[:-30])
    assert store.read(0, INDICES) is None
    file.write_bytes(b"")
    assert store.read(0, INDICES) is None


def test_code_and_bombs_in_a_batch_are_not_read(tmp_path: Path) -> None:
    store = BatchStore(tmp_path, "pgd", SETTINGS)
    ran = tmp_path / "ran"

    class Touch:
        def __reduce__(self) -> Any:
            return Path.touch, (ran,)

    file = store.path / "000000.npz"
    np.savez(file, **batch(), code=np.array([Touch()], object))
    assert store.read(0, INDICES) is None
    assert not ran.exists()
    header = io.BytesIO()
    head = {"descr": "<f8", "fortran_order": False, "shape": (2**41,)}
    np.lib.format.write_array_header_1_0(header, head)
    np.savez(file, **batch())
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("bomb.npy", header.getvalue())
    assert store.read(0, INDICES) is None


def test_changed_settings_have_their_own_folder_and_are_told(tmp_path: Path) -> None:
    first = BatchStore(tmp_path, "pgd", SETTINGS)
    first.write(0, batch())
    assert first.differences() == []
    second = BatchStore(tmp_path, "pgd", {"seed": 0, "attack": {"epsilon": 0.2}})
    assert second.is_new
    assert second.read(0, INDICES) is None
    assert second.differences() == ["attack.epsilon: 0.1, now 0.2"]
    assert first.read(0, INDICES) is not None
    other = BatchStore(tmp_path, "pgd-2", {"seed": 7})
    assert other.differences() == [], "another attack, though its name begins alike"


def test_newest_other_settings_are_compared(tmp_path: Path) -> None:
    for time, seed in enumerate((5, 6)):
        path = BatchStore(tmp_path, "pgd", {"seed": seed}).path / "settings.json"
        os.utime(path, (time, time))
    assert BatchStore(tmp_path, "pgd", {"seed": 7}).differences() == ["seed: 6, now 7"]


def test_settings_can_be_read_by_people(tmp_path: Path) -> None:
    path = BatchStore(tmp_path, "pgd", SETTINGS).path / "settings.json"
    assert json.loads(path.read_text()) == {"format": 1, **SETTINGS}


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(RunError, match="Cannot create the folder"):
        BatchStore(file, "pgd", SETTINGS)


def test_a_link_or_a_pipe_is_no_batch(tmp_path: Path) -> None:
    store = BatchStore(tmp_path / "batches", "pgd", SETTINGS)
    os.mkfifo(store.path / "000000.npz")
    (store.path / "000001.npz").symlink_to("/dev/zero")
    (store.path / "000002.npz").mkdir()
    assert [store.read(number, INDICES) for number in range(3)] == [None] * 3
    elsewhere = store.path.rename(tmp_path / "elsewhere")
    store.path.symlink_to(elsewhere)
    with pytest.raises(RunError, match="received a link"):
        BatchStore(tmp_path / "batches", "pgd", SETTINGS)
