"""Data sets that TensorFlow Datasets downloads, checks and prepares once.

What it prepares is decoded once more, into one file for each split's images, which
later runs map into memory instead of reading.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import requests
import tensorflow_datasets as tfds

from kmtard.data.errors import DataError
from kmtard.data.pipeline import DataSet, Split
from kmtard.runs.files import move_into_place

_ATTEMPTS = 3
_DECODE_BATCH = 1024


def load(
    builder_class: Any, directory: str | None = None, *, test: str = "test"
) -> DataSet:
    """Return a data set of TensorFlow Datasets, prepared first if it is not yet.

    Args:
        builder_class: A `tfds.core.GeneratorBasedBuilder` of images of one shape.
        directory: Folder that holds or gets the prepared data. Archives that lie in it
            under their own names are used, once their checksums are verified, instead
            of a download. None: TFDS's own folder, `~/tensorflow_datasets`, where
            archives may lie in `downloads/manual`.
        test: The split to test on; `train` is trained on.

    Returns:
        The data set. Its images are mapped from files: the system may drop them from
        memory and read them again. Where the prepared data's folder cannot be written,
        they are decoded into memory at each call.

    Raises:
        DataError: The directory or an archive is missing, an archive is damaged, there
            is no connection or no space, or what was prepared is damaged. Nothing of a
            failed preparation is used by a later one.
    """
    if directory is not None and not Path(directory).is_dir():
        raise DataError(
            f"Expected data.directory to be a folder for {builder_class.name!r}. "
            f"Received: {directory!r}. Make it, or leave the key out."
        )
    builder = _prepared(builder_class, directory)
    return DataSet(
        builder.name,
        _read(builder, "train"),
        _read(builder, test),
        num_classes=builder.info.features["label"].num_classes,
    )


def _prepared(
    builder_class: Any, directory: str | None, attempts: int = _ATTEMPTS
) -> Any:
    builder = builder_class(data_dir=directory)
    if Path(builder.data_dir).exists():
        return builder
    try:
        _prepare(builder, directory)
    except Exception as error:
        # TFDS tries again to connect, but not after a connection that broke.
        broken = isinstance(error, requests.exceptions.ChunkedEncodingError)
        # If it is there now, another process was quicker.
        there = Path(builder.data_dir).exists()
        if there or (broken and attempts > 1):
            return _prepared(builder_class, directory, attempts - 1)
        raise DataError(_advice(builder, directory, error)) from error
    return builder


def _prepare(builder: Any, directory: str | None) -> None:
    root = Path(builder.data_dir_root)
    root.mkdir(parents=True, exist_ok=True)
    # TFDS would use an extracted folder of any age again, unchecked.
    with tempfile.TemporaryDirectory(prefix=f"{builder.name}-", dir=root) as extracted:
        config = tfds.download.DownloadConfig(
            manual_dir=directory, extract_dir=extracted, try_download_gcs=False
        )
        builder.download_and_prepare(
            download_dir=root / "downloads", download_config=config
        )


def _advice(builder: Any, directory: str | None, error: Exception) -> str:
    root = Path(builder.data_dir_root)
    archives = "".join(
        f"\n  {info.filename}, {int(info.size):,} bytes, from {url}"
        for url, info in (builder.url_infos or {}).items()
    )
    return (
        f"Cannot prepare the data set {builder.name!r} in {builder.data_dir}.\n"
        f"{type(error).__name__}: {error}\n"
        f"Expected these files, to be downloaded or found in "
        f"{directory or root / 'downloads' / 'manual'}:{archives}\n"
        "Put right what is missing or damaged and start again; nothing half-made is "
        f"used. Parts of broken downloads in {root / 'downloads'} may be deleted."
    )


def _read(builder: Any, split: str) -> Split:
    try:
        if os.access(builder.data_dir, os.W_OK) or _paths(builder, split)[0].exists():
            return _mapped(builder, split)
        images, labels = zip(*_batches(builder, split), strict=True)
        return Split(np.concatenate(images), np.concatenate(labels))
    except Exception as error:
        raise DataError(
            f"Cannot read the split {split!r} of {builder.name!r}, prepared in "
            f"{builder.data_dir}.\n{type(error).__name__}: {error}\n"
            "Expected files that are whole, and space for the decoded images. If files "
            "are damaged, delete that folder and start again."
        ) from error


def _paths(builder: Any, split: str) -> tuple[Path, Path]:
    stem = Path(builder.data_dir) / f"kmtard-{split}"
    return Path(f"{stem}-images.bin"), Path(f"{stem}-labels.npy")


def _mapped(builder: Any, split: str) -> Split:
    images, labels = _paths(builder, split)
    # Images come last: where they are, the labels are.
    if not images.exists():
        with _new_file(images) as image_file, _new_file(labels) as label_file:
            numbers = []
            for pixels, classes in _batches(builder, split):
                image_file.write(pixels.tobytes())
                numbers.append(classes)
            np.save(label_file, np.concatenate(numbers))
    classes = np.load(labels)
    shape = (len(classes), *builder.info.features["image"].shape)
    return Split(np.memmap(images, np.uint8, mode="c", shape=shape), classes)


def _batches(builder: Any, split: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    dataset = builder.as_dataset(
        split=split,
        batch_size=_DECODE_BATCH,
        as_supervised=True,
        # One shard after the other: an order that nothing changes.
        read_config=tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1),
    )
    for images, labels in tfds.as_numpy(dataset):
        yield images, labels.astype(np.int32)


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
        move_into_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
