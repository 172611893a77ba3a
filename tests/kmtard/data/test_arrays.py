"""Arrays from files that are damaged, hostile or too large."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmtard.data.arrays import open_arrays
from kmtard.data.errors import DataError
from kmtard.data.npz import npz

pytestmark = pytest.mark.once("torch")

ZEROS = np.zeros(2**24, np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.npz"


def add(path: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, content)


def head(shape: tuple[int, ...]) -> bytes:
    """Return the beginning of an array that is not there."""
    file = io.BytesIO()
    values = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, values)
    return file.getvalue()


def test_arrays_are_read(path: Path) -> None:
    np.savez_compressed(path, a=np.arange(3), b=ZEROS)
    with open_arrays(path) as arrays:
        assert list(arrays) == ["a", "b"]
        assert arrays["a"].tolist() == [0, 1, 2]


def test_code_in_an_array_is_not_run(path: Path, tmp_path: Path) -> None:
    class Touch:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    np.savez(path, a=np.array([Touch()], object))
    with (
        pytest.raises(ValueError, match="Object arrays cannot be loaded"),
        open_arrays(path) as arrays,
    ):
        arrays["a"]
    assert not (tmp_path / "ran").exists()


def test_an_array_of_eleven_tib_is_refused(path: Path) -> None:
    np.savez(path, x_train=0, y_train=0, x_test=0)
    add(path, "y_test.npy", head((11 * 2**20, 2**10, 2**10)) + b"few")
    with (
        pytest.raises(ValueError, match="does not fit in memory"),
        open_arrays(path) as arrays,
    ):
        arrays["y_test"]
    with pytest.raises(DataError, match=f"Cannot use {path}: an array does not fit"):
        npz(str(path))


def test_members_that_declare_more_than_the_memory_are_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(path, bomb=ZEROS)
    assert path.stat().st_size < 2**16
    monkeypatch.setattr(os, "sysconf", lambda name: 2**11)
    with (
        pytest.raises(ValueError, match=r"declare 16,777,.* has only 4,194,304 bytes"),
        open_arrays(path),
    ):
        raise AssertionError("it was opened")


def test_a_damaged_member_is_told(path: Path) -> None:
    np.savez_compressed(path, a=np.arange(10_000))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with (
        pytest.raises(ValueError, match=r"not a complete \.npz file"),
        open_arrays(path) as arrays,
    ):
        arrays["a"]


def test_a_pipe_is_not_opened(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(OSError, match="a pipe"), open_arrays(path):
        raise AssertionError("it was opened")
