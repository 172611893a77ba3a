"""The decoded files of a prepared data set are read without TensorFlow."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from kmtard.data.catalog import cifar10, cifar100, svhn_cropped
from kmtard.data.errors import DataError
from kmtard.data.fashion_mnist import fashion_mnist
from kmtard.data.pipeline import Split
from kmtard.data.tiny_imagenet import tiny_imagenet
from tests.kmtard.data.archives import pixels

pytestmark = pytest.mark.once("jax")

SETS = {
    "cifar10": (cifar10, (32, 32, 3), "test"),
    "cifar100": (cifar100, (32, 32, 3), "test"),
    "svhn_cropped": (svhn_cropped, (32, 32, 3), "test"),
    "fashion_mnist": (fashion_mnist, (28, 28, 1), "test"),
    "tiny_imagenet": (tiny_imagenet, (64, 64, 3), "validation"),
}


@pytest.fixture(autouse=True)
def without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let both be missing."""
    for name in ("tensorflow", "tensorflow_datasets"):
        monkeypatch.setitem(sys.modules, name, None)


def write(folder: Path, split: str, images: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"kmtard-{split}-images.bin").write_bytes(images.tobytes())
    np.save(folder / f"kmtard-{split}-labels.npy", np.arange(len(images), dtype="i4"))


@pytest.mark.parametrize("place", ["directory", "TFDS_DATA_DIR", "home"])
@pytest.mark.parametrize("name", SETS)
def test_decoded_files_suffice(
    name: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, shape, test = SETS[name]
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    root = tmp_path / "home" / "tensorflow_datasets" if place == "home" else tmp_path
    images = pixels(7, *shape)
    write(root / name / "3.0.2", "train", images[:4])
    write(root / name / "3.0.2", test, images[4:])
    if place == "TFDS_DATA_DIR":
        monkeypatch.setenv(place, str(tmp_path))
    data = load(str(tmp_path) if place == "directory" else None)
    assert data.name == name
    for split, expected in ((data.train, images[:4]), (data.test, images[4:])):
        np.testing.assert_array_equal(split.images, expected)
        assert split.labels.tolist() == list(range(len(expected)))


def shade(split: Split) -> int:
    return int(np.unique(np.asarray(split.images)).item())


def test_the_newest_whole_version_is_read(tmp_path: Path) -> None:
    versions = ("9.0.0", "10.0.0", "11.0.0", "12.0.0.incompleteABC")
    for number, version in enumerate(versions):
        images = np.full((2, 32, 32, 3), number, np.uint8)
        write(tmp_path / "cifar10" / version, "train", images)
        if version != "11.0.0":
            write(tmp_path / "cifar10" / version, "test", images)
    data = cifar10(str(tmp_path))
    assert (shade(data.train), shade(data.test)) == (1, 1)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "cifar10" / "3.0.2"
    write(folder, "train", pixels(3, 32, 32, 3))
    write(folder, "test", pixels(2, 32, 32, 3))
    path = folder / "kmtard-test-images.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=f"'test' of 'cifar10'(.|\n)*{path}.*6,143"):
        cifar10(str(tmp_path))


def test_what_is_not_prepared_says_what_is_needed(tmp_path: Path) -> None:
    write(tmp_path / "cifar10" / "3.0.2", "train", pixels(3, 32, 32, 3))
    with pytest.raises(DataError, match="'cifar10' is not prepared in") as error:
        cifar10(str(tmp_path))
    assert "pip install tensorflow tensorflow-datasets" in str(error.value)
    assert str(tmp_path / "cifar10") in str(error.value)
