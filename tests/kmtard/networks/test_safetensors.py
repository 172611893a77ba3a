"""The .safetensors files are those of the format's description."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from kmtard.networks import weight_files

pytestmark = pytest.mark.once("torch")


def file(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def entry(dtype: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_every_type_is_read(tmp_path: Any) -> None:
    body = b"\x00\x00\x80\x3f\x00\x00\x00\xc0" + b"\x00\x3c" + b"\xc0\xbf" + b"\xfe"
    body += (7).to_bytes(8, "little")
    header = {
        "__metadata__": {"format": "pt"},
        "f32": entry("F32", [2, 1], 0, 8),
        "f16": entry("F16", [1], 8, 10),
        "bf16": entry("BF16", [], 10, 12),
        "i8": entry("I8", [1], 12, 13),
        "i64": entry("I64", [], 13, 21),
    }
    (tmp_path / "a.safetensors").write_bytes(file(header, body))
    arrays = weight_files.read(tmp_path / "a.safetensors")
    expected = {
        "f32": np.float32([[1], [-2]]),
        "f16": np.float32([1]),
        "bf16": np.float32(-1.5),
        "i8": np.int8([-2]),
        "i64": np.int64(7),
    }
    assert set(arrays) == set(expected)
    for key, array in arrays.items():
        assert array.dtype == expected[key].dtype and array.shape == expected[key].shape
        assert np.array_equal(array, expected[key])


def test_what_is_written_follows_the_format(tmp_path: Any) -> None:
    arrays = {"a.b": np.float32([[1, 2, 3]]), "c": np.zeros((), np.int64)}
    weight_files.write(tmp_path / "a.safetensors", arrays)
    data = (tmp_path / "a.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    assert size % 8 == 0
    assert json.loads(data[8 : 8 + size]) == {
        "__metadata__": {"format": "pt"},
        "c": entry("I64", [], 0, 8),
        "a.b": entry("F32", [1, 3], 8, 20),
    }
    assert data[8 + size :] == bytes(8) + arrays["a.b"].tobytes()


def test_an_array_is_written_as_it_reads(tmp_path: Any) -> None:
    array = np.arange(6, dtype="float32").reshape(2, 3).T
    weight_files.write(tmp_path / "a.safetensors", {"a": array})
    assert np.array_equal(weight_files.read(tmp_path / "a.safetensors")["a"], array)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        (2**62).to_bytes(8, "little") + b"{}",
        file(b"not json"),
        file([1]),
        file(b"[" * 100_000),
        file({"a": 3}),
        file({"a": {}}),
        file({"a": entry("F4", [1], 0, 4)}, bytes(4)),
        file({"a": entry("F8_E4M3", [1], 0, 1)}, bytes(1)),
        file({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 0, 4)}, bytes(4)),
        file({"__metadata__": [1], "a": entry("F32", [1], 0, 4)}, bytes(4)),
        file({"a": entry("F32", [1], 0, 8)}, bytes(8)),
        file({"a": entry("F32", [2], 0, 8)}, bytes(4)),
        file({"a": entry("F32", [1], -4, 0)}, bytes(8)),
        file({"a": entry("F32", [-1, -1], 0, 4)}, bytes(4)),
        file({"a": entry("F32", [0], 4, 4) | {"shape": "x"}}, bytes(4)),
        file({"a": entry("F32", [1], 0, 4) | {"data_offsets": [0.0, 4.0]}}, bytes(4)),
    ],
)
def test_damaged_files_are_refused(data: bytes, tmp_path: Any) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(
        ValueError, match=f"{path} must be a complete .safetensors file"
    ):
        weight_files.read(path)
