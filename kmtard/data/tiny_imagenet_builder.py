"""Tiny-ImageNet for TensorFlow Datasets, which does not include it."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from kmtard.data.errors import DataError

Example = tuple[str, dict[str, Any]]

_FOLDER = "tiny-imagenet-200/"


class TinyImagenet(tfds.core.GeneratorBasedBuilder):
    """200 classes of ImageNet at 64x64 pixels, each with 500 training images.

    Each class has 50 validation images too. Labels are positions in the sorted list of
    WordNet ids, as in torchvision's `ImageFolder` and so in the published PyTorch
    weights. The images of the test split have no public labels and are left out. Gray
    images in the archive are decoded to three equal channels.

    The archive, `tiny-imagenet-200.zip`, is downloaded, or taken from `manual_dir`.
    Its size and SHA-256 are in `checksums.tsv`.
    """

    VERSION = tfds.core.Version("1.0.0")
    URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"

    def _info(self) -> Any:
        return tfds.core.DatasetInfo(
            builder=self,
            description="200 classes of ImageNet at 64x64 pixels.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(64, 64, 3), encoding_format="jpeg"
                    ),
                    "label": tfds.features.ClassLabel(num_classes=200),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="http://cs231n.stanford.edu/reports/2015/pdfs/yle_project.pdf",
            citation="Le, Yang: Tiny ImageNet Visual Recognition Challenge, 2015",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[Example]]:
        path = str(dl_manager.download(self.URL))
        with zipfile.ZipFile(path) as archive:
            text = _member(archive, "wnids.txt").decode()
        self.info.features["label"].names = sorted(text.split())
        return {
            "train": self._generate_examples(path, "train"),
            "validation": self._generate_examples(path, "validation"),
        }

    def _generate_examples(self, path: str, split: str) -> Iterator[Example]:
        with zipfile.ZipFile(path) as archive:
            labels = _train_labels if split == "train" else _validation_labels
            for name, label in labels(archive, self.info.features["label"].names):
                image = _member(archive, name)
                yield name.rpartition("/")[2], {"image": image, "label": label}


def _train_labels(
    archive: zipfile.ZipFile, wnids: list[str]
) -> Iterator[tuple[str, str]]:
    images: dict[str, list[str]] = {wnid: [] for wnid in wnids}
    for name in archive.namelist():
        match name.removeprefix(_FOLDER).split("/"):
            case ["train", wnid, "images", file] if wnid in images and file:
                images[wnid].append(name.removeprefix(_FOLDER))
    if empty := [wnid for wnid, names in images.items() if not names]:
        raise DataError(
            f"Expected {archive.filename} to hold images in {_FOLDER}train/CLASS/images"
            f" for each class in wnids.txt. Missing: {', '.join(empty)}. Download the "
            "archive again."
        )
    return ((name, wnid) for wnid, names in images.items() for name in names)


def _validation_labels(
    archive: zipfile.ZipFile, wnids: list[str]
) -> Iterator[tuple[str, str]]:
    for line in _member(archive, "val/val_annotations.txt").decode().splitlines():
        name, wnid, *_ = line.split("\t")
        yield f"val/images/{name}", wnid


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(_FOLDER + name)
    except KeyError as error:
        raise DataError(
            f"Expected {archive.filename} to hold {_FOLDER}{name}, which is missing. "
            "Download the archive again."
        ) from error
