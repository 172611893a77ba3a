"""Corrupted images that are generated, and those of published files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kmtard.evaluation.corruptions.sources import Generated, Published
from kmtard.evaluation.corruptions.transforms import corrupted
from kmtard.evaluation.images import ImageSet

pytestmark = pytest.mark.once("jax")

COUNT = 6
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8, 3), np.uint8)
LABELS = np.arange(COUNT) % 3


def images(pixels: np.ndarray = PIXELS) -> ImageSet:
    return ImageSet("some", pixels, LABELS, 255.0)


@pytest.mark.parametrize("channels_last", [True, False])
def test_made_images_have_their_own_index(channels_last: bool) -> None:
    pixels = PIXELS if channels_last else np.moveaxis(PIXELS, -1, 1)
    made = Generated(images(pixels), seed=4, channels_last=channels_last)
    rows = np.array([4, 1])
    expected = corrupted(PIXELS[rows], "fog", 2, seed=4, indices=[4, 1])
    assert np.array_equal(made.pixels("fog", 2, rows), expected)


def test_settings_say_what_differs_from_the_published_files() -> None:
    made = Generated(images(), seed=0, channels_last=True)
    assert "photographs" in made.settings("frost")["difference"]
    assert "ImageMagick" in made.settings("snow")["difference"]
    assert made.settings("contrast") == {
        "source": "generated",
        "version": 1,
        "constants": [[0.75], [0.5], [0.4], [0.3], [0.15]],
    }


def test_images_that_cannot_be_corrupted() -> None:
    with pytest.raises(ValueError, match="Corruptions need images"):
        Generated(images(PIXELS[..., :2]), seed=0, channels_last=True)


def published(folder: Path, files: np.ndarray, labels: np.ndarray = LABELS) -> None:
    np.save(folder / "fog.npy", files)
    np.save(folder / "labels.npy", np.tile(labels, 5).astype(np.uint8))


def test_published_images_are_in_the_order_of_the_severities(tmp_path: Path) -> None:
    files = np.random.default_rng(1).integers(0, 256, (5 * COUNT, 8, 8, 3), np.uint8)
    published(tmp_path, files)
    source = Published(tmp_path, images())
    found = source.pixels("fog", 3, np.array([5, 0]))
    assert np.array_equal(found, files[[2 * COUNT + 5, 2 * COUNT]])
    assert source.settings("fog")["source"] == "published"
    assert len(source.settings("fog")["sha256"]) == 64


@pytest.mark.parametrize(
    ("labels", "told"),
    [(LABELS[:4], "Received: 20 labels"), (LABELS[::-1], "30 labels, and some differ")],
)
def test_labels_of_other_images(labels: np.ndarray, told: str, tmp_path: Path) -> None:
    published(tmp_path, np.zeros((5 * COUNT, 8, 8, 3), np.uint8), labels)
    with pytest.raises(ValueError, match=told):
        Published(tmp_path, images())


@pytest.mark.parametrize(
    "files", [np.zeros((COUNT, 8, 8, 3), np.uint8), np.zeros((5 * COUNT, 8, 8, 3))]
)
def test_files_with_other_arrays(files: np.ndarray, tmp_path: Path) -> None:
    published(tmp_path, files)
    source = Published(tmp_path, images())
    with pytest.raises(ValueError, match=r"Expected uint8 images \(30, height"):
        source.pixels("fog", 1, np.arange(2))


@pytest.mark.parametrize("content", [b"", b"no array"])
def test_a_damaged_file(content: bytes, tmp_path: Path) -> None:
    published(tmp_path, np.zeros((5 * COUNT, 8, 8, 3), np.uint8))
    (tmp_path / "fog.npy").write_bytes(content)
    source = Published(tmp_path, images())
    with pytest.raises(ValueError, match="Expected an array of NumPy in .*fog.npy"):
        source.pixels("fog", 1, np.arange(2))
