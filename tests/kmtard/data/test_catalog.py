"""Small archives with the published layouts are read by the builders of TFDS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from kmtard.data.catalog import cifar10, cifar100, svhn_cropped
from kmtard.data.fashion_mnist import fashion_mnist
from kmtard.data.pipeline import DataSet, Split
from kmtard.data.tiny_imagenet import tiny_imagenet
from tests.kmtard.data.archives import pixels, trust, write_cifar10, write_cifar100

tfds = pytest.importorskip("tensorflow_datasets")
pytestmark = pytest.mark.once("tensorflow")


def rows(images: np.ndarray, labels: np.ndarray) -> list[bytes]:
    """Each image with its label, in an order that does not depend on theirs."""
    pairs = zip(images, labels, strict=True)
    return sorted(bytes([label]) + image.tobytes() for image, label in pairs)


def same(split: Split, images: np.ndarray, labels: np.ndarray) -> bool:
    return rows(split.images, split.labels) == rows(images, labels)


def test_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, images, labels = write_cifar10(tmp_path)
    trust(monkeypatch, tfds.builder_cls("cifar10"), path)
    data = cifar10(str(tmp_path))
    assert (data.name, data.num_classes) == ("cifar10", 10)
    assert data.train.images.dtype == np.uint8
    assert data.train.labels.dtype == np.int32
    assert same(data.train, images[:25], labels[:25])
    assert same(data.test, images[25:], labels[25:])


def test_cifar100_has_its_fine_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, images, fine = write_cifar100(tmp_path)
    trust(monkeypatch, tfds.builder_cls("cifar100"), path)
    data = cifar100(str(tmp_path))
    assert (data.name, data.num_classes) == ("cifar100", 100)
    assert same(data.train, images[:6], fine[:6])
    assert same(data.test, images[6:], fine[6:])


def test_svhn_cropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels, paths = pixels(10, 32, 32, 3), np.arange(1, 11), []
    for split in ("train", "test", "extra"):
        path = tmp_path / f"{split}_32x32.mat"
        arrays = {"X": np.moveaxis(images, 0, -1), "y": labels[:, None]}
        scipy.io.savemat(path, arrays)
        paths.append(path)
    trust(monkeypatch, tfds.builder_cls("svhn_cropped"), *paths)
    data = svhn_cropped(str(tmp_path))
    assert (data.name, data.num_classes) == ("svhn_cropped", 10)
    assert same(data.train, images, labels % 10)  # the digit 0 has the number 10
    assert same(data.test, images, labels % 10)


@pytest.mark.parametrize(
    ("load", "shape", "classes"),
    [
        (cifar10, (32, 32, 3), 10),
        (cifar100, (32, 32, 3), 100),
        (svhn_cropped, (32, 32, 3), 10),
        (fashion_mnist, (28, 28, 1), 10),
        (tiny_imagenet, (64, 64, 3), 200),
    ],
)
def test_shapes_of_the_published_data(
    load: Any,
    shape: tuple[int, ...],
    classes: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With random images in place of the real ones."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with tfds.testing.mock_data(num_examples=12, data_dir=str(tmp_path)):
        data: DataSet = load()
    assert (data.name, data.num_classes) == (load.__name__, classes)
    for split in (data.train, data.test):
        assert split.images.shape == (12, *shape)
    assert not list(tmp_path.iterdir())
