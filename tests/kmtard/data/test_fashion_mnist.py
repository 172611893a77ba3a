"""Fashion-MNIST from its four files and through TFDS."""

from __future__ import annotations

import gzip
import importlib
from pathlib import Path

import numpy as np
import pytest

from kmtard.data.errors import DataError
from kmtard.data.fashion_mnist import fashion_mnist, read_idx
from tests.kmtard.data.archives import idx, pixels, trust, write_fashion_mnist

pytestmark = pytest.mark.once("jax")


@pytest.mark.parametrize("packed", [True, False])
def test_the_four_files_are_read_where_they_are(packed: bool, tmp_path: Path) -> None:
    for path in write_fashion_mnist(tmp_path):
        if not packed:
            path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
            path.unlink()
    before = set(tmp_path.iterdir())
    tmp_path.chmod(0o555)
    data = fashion_mnist(str(tmp_path))
    assert set(tmp_path.iterdir()) == before
    assert (data.name, data.num_classes) == ("fashion_mnist", 10)
    for split, count in ((data.train, 8), (data.test, 5)):
        np.testing.assert_array_equal(split.images, pixels(count, 28, 28, 1))
        assert split.labels.tolist() == list(range(count))


def test_tfds_prepares_the_same_four_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tfds = pytest.importorskip("tensorflow_datasets")
    mnist = importlib.import_module("tensorflow_datasets.image_classification.mnist")
    paths = write_fashion_mnist(tmp_path)
    trust(monkeypatch, tfds.builder_cls("fashion_mnist"), *paths)
    monkeypatch.setattr(mnist, "_TRAIN_EXAMPLES", 8)
    monkeypatch.setattr(mnist, "_TEST_EXAMPLES", 5)
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path / "tfds"))
    manual = tmp_path / "tfds" / "downloads" / "manual"
    manual.mkdir(parents=True)
    for path in paths:
        path.rename(manual / path.name)
    given, prepared = fashion_mnist(str(manual)), fashion_mnist()
    for split in ("train", "test"):
        ours, theirs = getattr(given, split), getattr(prepared, split)
        order = np.argsort(theirs.labels)
        np.testing.assert_array_equal(theirs.images[order], ours.images)
        np.testing.assert_array_equal(theirs.labels[order], ours.labels)


def test_missing_files_are_named(tmp_path: Path) -> None:
    paths = write_fashion_mnist(tmp_path)
    paths[1].unlink()
    paths[2].unlink()
    with pytest.raises(DataError) as error:
        fashion_mnist(str(tmp_path))
    names = "train-labels-idx1-ubyte, t10k-images-idx3-ubyte"
    assert f"{tmp_path}, each" in str(error.value)
    assert f"Missing: {names}." in str(error.value)


def test_images_and_labels_of_different_numbers_are_refused(tmp_path: Path) -> None:
    paths = write_fashion_mnist(tmp_path)
    paths[1].write_bytes(gzip.compress(idx(np.zeros(7, np.uint8))))
    with pytest.raises(DataError, match=rf"{paths[0]} and {paths[1]}.*\(8,\).*\(7,\)"):
        fashion_mnist(str(tmp_path))


def test_an_idx_file_has_any_shape(tmp_path: Path) -> None:
    for shape in ((), (3,), (2, 0), (2, 3, 4, 5)):
        array = np.arange(int(np.prod(shape)), dtype=np.uint8).reshape(shape)
        (tmp_path / "file").write_bytes(idx(array))
        np.testing.assert_array_equal(read_idx(tmp_path / "file"), array)


WHOLE = idx(pixels(4, 5))
# The time is fixed: every process that collects the tests must find the same names.
PACKED = gzip.compress(WHOLE, mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cut.gz", PACKED[:-12], "Cannot read.*complete idx file"),
        ("broken.gz", b"\x1f\x8b" + bytes(30), "Cannot read"),
        ("flipped.gz", PACKED[:-8] + bytes(8), "Cannot read.*CRC"),
        ("packed", PACKED, "begins with 00 00 08.*Received: 1f 8b"),
        ("cut", WHOLE[:-1], r"have 32 bytes.*shape is \(4, 5\).*Received: 31"),
        (
            "header",
            WHOLE[:9],
            "begins with 00 00 08.*Received: 00 00 08 02 00 00 00 04 00",
        ),
        ("longer", WHOLE + b"0", "have 32 bytes.*Received: 33"),
        ("empty", b"", "begins with 00 00 08.*Received: "),
    ],
)
def test_a_damaged_file_is_refused(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_idx(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
