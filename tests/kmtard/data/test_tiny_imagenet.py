"""The builder of Tiny-ImageNet, on an archive of the published layout."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest

from kmtard.data.errors import DataError
from kmtard.data.tiny_imagenet import tiny_imagenet
from tests.kmtard.data.archives import tiny_imagenet_files, trust, write_zip

tfds = pytest.importorskip("tensorflow_datasets")
TinyImagenet = pytest.importorskip("kmtard.data.tiny_imagenet_builder").TinyImagenet
pytestmark = pytest.mark.once("tensorflow")

ARCHIVE = "tiny-imagenet-200.zip"


def test_the_published_archive_is_the_one_expected() -> None:
    [(url, info)] = TinyImagenet.url_infos.items()
    assert url == TinyImagenet.URL == f"http://cs231n.stanford.edu/{ARCHIVE}"
    assert (info.filename, int(info.size)) == (ARCHIVE, 248_100_043)
    assert info.checksum.startswith("6198c8ae") and len(info.checksum) == 64


def test_images_and_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / ARCHIVE, tiny_imagenet_files())
    trust(monkeypatch, TinyImagenet, path)
    data = tiny_imagenet(str(tmp_path))
    assert (data.name, data.num_classes) == ("tiny_imagenet", 200)
    assert data.input_shape == (64, 64, 3)
    assert np.bincount(data.train.labels).tolist() == [2] * 200
    assert np.bincount(data.test.labels).tolist() == [1] * 200
    # Class n of wnids.txt has the shade n, and is number 7 n % 200 in the alphabet.
    shades = np.array([number * 143 % 200 for number in range(200)])
    for split in (data.train, data.test):
        red = split.images[:, 30, 30, 0].astype(int)
        assert np.abs(red - shades[split.labels]).max() <= 2
    spread = np.ptp(data.train.images.astype(int), axis=-1).max((1, 2))
    grey = spread == 0
    assert grey.sum() >= 200 and not grey[shades[data.train.labels] > 20].all()
    assert not np.ptp(data.test.images, axis=-1).any()


def test_tfds_finds_the_builder_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_zip(tmp_path / ARCHIVE, tiny_imagenet_files())
    trust(monkeypatch, TinyImagenet, path)
    builder = tfds.builder("tiny_imagenet", data_dir=tmp_path / "prepared")
    config = tfds.download.DownloadConfig(manual_dir=tmp_path)
    builder.download_and_prepare(download_config=config, download_dir=tmp_path / "d")
    assert builder.info.splits["train"].num_examples == 400
    assert builder.info.splits["validation"].num_examples == 200


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("train/n00001007/", "images in tiny-imagenet-200/train/.*n00001007"),
        ("wnids.txt", "hold tiny-imagenet-200/wnids.txt"),
        ("val/val_annotations.txt", "hold tiny-imagenet-200/val/val_annotations.txt"),
        ("val/images/val_3.JPEG", "hold tiny-imagenet-200/val/images/val_3.JPEG"),
    ],
)
def test_a_part_that_is_missing_is_named(
    missing: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = f"tiny-imagenet-200/{missing}"
    files = tiny_imagenet_files()
    kept = {name: files[name] for name in files if not name.startswith(prefix)}
    trust(monkeypatch, TinyImagenet, write_zip(tmp_path / ARCHIVE, kept))
    with pytest.raises(DataError, match=message) as error:
        tiny_imagenet(str(tmp_path))
    assert str(tmp_path / ARCHIVE) in str(error.value)
    assert not list((tmp_path / "tiny_imagenet").rglob("*"))


def test_members_that_lead_elsewhere_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "inner" / "data"
    folder.mkdir(parents=True)
    image = tiny_imagenet_files(1)["tiny-imagenet-200/test/images/test_0.JPEG"]
    hostile = {
        **dict.fromkeys(("../../up", str(tmp_path / "absolute")), b"outside"),
        "tiny-imagenet-200/train/n00001000/images/../../../../../up.JPEG": image,
        "tiny-imagenet-200/train/n00001000/images/..": image,
    }
    path = write_zip(folder / ARCHIVE, {**tiny_imagenet_files(), **hostile})
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("tiny-imagenet-200/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, str(tmp_path))
    trust(monkeypatch, TinyImagenet, path)
    tiny_imagenet(str(folder))
    assert [each.name for each in tmp_path.iterdir()] == ["inner"]
    assert [each.name for each in (tmp_path / "inner").iterdir()] == ["data"]
    assert not [each for each in folder.rglob("*") if each.is_symlink()]


def test_a_truncated_archive_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_zip(tmp_path / ARCHIVE, tiny_imagenet_files())
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DataError, match="wrong checksum"):
        tiny_imagenet(str(tmp_path))
    trust(monkeypatch, TinyImagenet, path)
    with pytest.raises(DataError, match="BadZipFile"):
        tiny_imagenet(str(tmp_path))
