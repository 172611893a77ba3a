"""Which images are kept as PNG, and the content of the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kmtard.evaluation.pictures import picture_indices, to_pixels, write_pictures
from kmtard.runs.files import RunError

pytestmark = pytest.mark.once("torch")


@pytest.mark.parametrize("images", [1, 7, 64])
def test_few_images_are_all_kept(images: int) -> None:
    found = picture_indices((images, 8, 8, 1), channels_last=True)
    assert found.tolist() == list(range(images))


@pytest.mark.parametrize("images", [65, 100, 10_000])
def test_many_images_are_spread_evenly(images: int) -> None:
    found = picture_indices((images, 8, 8, 1), channels_last=True)
    assert len(found) == 64
    assert (found[0], found[-1]) == (0, images - 1)
    assert np.ptp(np.diff(found)) <= 1


@pytest.mark.parametrize(
    ("shape", "last", "kept"),
    [
        ((2, 8, 8, 3), True, 2),
        ((2, 8, 8, 5), True, 0),
        ((2, 3, 8, 8), False, 2),
        ((2, 8, 8, 3), False, 0),
        ((2, 64), True, 0),
    ],
)
def test_only_images_that_can_be_png(
    shape: tuple[int, ...], last: bool, kept: int
) -> None:
    assert len(picture_indices(shape, channels_last=last)) == kept


def test_pixels_are_rounded() -> None:
    values = np.array([0, 0.4 / 255, 0.6 / 255, 1, 1 + 1e-7], "float32")
    assert to_pixels(values).tolist() == [0, 0, 1, 255, 255]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("last", [True, False])
def test_native_pixels(tmp_path: Path, channels: int, last: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, channels), np.uint8)
    picture = pixels if last else np.moveaxis(pixels, -1, 0)
    write_pictures(tmp_path / "a", {123: picture}, channels_last=last)
    found = np.asarray(Image.open(tmp_path / "a" / "000123.png"))
    np.testing.assert_array_equal(found.reshape(pixels.shape), pixels)


def test_folder_is_replaced(tmp_path: Path) -> None:
    picture = np.zeros((2, 2, 1), np.uint8)
    folder = tmp_path / "deep" / "a"
    write_pictures(folder, {1: picture, 2: picture}, channels_last=True)
    write_pictures(folder, {2: picture}, channels_last=True)
    assert [path.name for path in folder.iterdir()] == ["000002.png"]
    write_pictures(folder, {}, channels_last=True)
    assert not folder.exists()


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    picture = np.zeros((2, 2, 1), np.uint8)
    with pytest.raises(RunError, match="Cannot create the folder"):
        write_pictures(tmp_path / "file" / "a", {0: picture}, channels_last=True)


@pytest.mark.parametrize("name", ["images", "images/clean"])
def test_a_link_is_neither_emptied_nor_filled(tmp_path: Path, name: str) -> None:
    mine = tmp_path / "mine"
    (mine / "clean").mkdir(parents=True)
    (mine / "clean" / "photo.png").write_text("precious")
    link = tmp_path / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(mine if name == "images" else mine / "clean")
    picture = {0: np.zeros((2, 2, 1), "uint8")}
    with pytest.raises(RunError, match="received a link"):
        write_pictures(tmp_path / "images" / "clean", picture, channels_last=True)
    assert [path.name for path in (mine / "clean").iterdir()] == ["photo.png"]
