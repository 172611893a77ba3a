"""Data sets that TensorFlow Datasets downloads, checks and prepares once.

The prepared images are then decoded once, into one file per split. Later runs map this
file into memory, so they do not need TensorFlow.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import keras
import numpy as np

from kmtard.data.errors import DataError
from kmtard.data.pipeline import DataSet, Split
from kmtard.runs.files import replaced

_ATTEMPTS = 3
_DECODE_BATCH = 1024
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def load(
    name: str,
    shape: tuple[int, int, int],
    num_classes: int,
    directory: str | None = None,
    *,
    test: str = "test",
    module: str | None = None,
) -> DataSet:
    """Return a data set of TensorFlow Datasets (TFDS), and prepare it if needed.

    TensorFlow is loaded only to prepare and decode the data. If an earlier call has
    decoded it, TensorFlow is not needed.

    Args:
        name: The name in TensorFlow Datasets.
        shape: `(height, width, channels)` of the images.
        num_classes: The number of classes.
        directory: Folder that holds or gets the prepared data. If the original archives
            are in it under their original names, they are checked and used instead of a
            download. None: the folder of TFDS, `~/tensorflow_datasets`, with archives
            in its subfolder `downloads/manual`.
        test: The split to test on. The split `train` is for training.
        module: The module that registers the builder, if it is not part of TFDS.

    Returns:
        The data set. Its images are mapped from files, so the system may drop them from
        memory and read them again. If the folder with the prepared data cannot be
        written, the images are decoded into memory at every call.

    Raises:
        DataError: The directory or an archive is missing, an archive or the prepared
            data is damaged, there is no connection or no space, or the data must be
            prepared but TensorFlow is not installed. A failed preparation leaves
            nothing behind that a later one would use.
    """
    if directory is not None and not Path(directory).is_dir():
        raise DataError(
            f"Expected data.directory to be a folder for {name!r}. "
            f"Received: {directory!r}. Create the folder, or leave the key out."
        )
    splits = ("train", test)
    root = Path(directory or _default_directory())
    folder = _decoded(root / name, splits)
    builder = None
    if folder is None:
        builder = _prepared(_builder_class(name, module, root), directory)
        folder = Path(builder.data_dir)
    train, tested = (_read(folder, split, name, shape, builder) for split in splits)
    return DataSet(name, train, tested, num_classes)


def _default_directory() -> str:
    # The same rule as in tensorflow_datasets.core.constants.
    return os.environ.get("TFDS_DATA_DIR") or os.path.expanduser(
        "~/tensorflow_datasets"
    )


def _decoded(folder: Path, splits: tuple[str, ...]) -> Path | None:
    """Return the folder of the newest version whose splits are all decoded."""
    versions = {
        tuple(map(int, path.name.split("."))): path
        for path in folder.glob("*.*.*")
        if _VERSION.fullmatch(path.name)
        and all(_paths(path, split)[0].exists() for split in splits)
    }
    return versions[max(versions)] if versions else None


def _builder_class(name: str, module: str | None, root: Path) -> Any:
    try:
        import tensorflow as tf
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise DataError(
            f"{name!r} is not prepared in {root}, and preparing it needs TensorFlow "
            f"and TensorFlow Datasets: {error}. Install both (pip install tensorflow "
            f"tensorflow-datasets), or copy the folder {root / name} from a machine "
            "where kmtard has read it."
        ) from error
    if keras.config.backend() != "tensorflow":
        # TensorFlow only reads data here, so it must not take GPU memory. If it has
        # already been initialized, its devices can no longer be changed.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
    if module:
        importlib.import_module(module)
    return tfds.builder_cls(name)


def _prepared(
    builder_class: Any, directory: str | None, attempts: int = _ATTEMPTS
) -> Any:
    from requests.exceptions import ChunkedEncodingError

    builder = builder_class(data_dir=directory)
    if Path(builder.data_dir).exists():
        return builder
    try:
        _prepare(builder, directory)
    except Exception as error:
        # TFDS retries to connect, but it does not retry when a download breaks off.
        broken = isinstance(error, ChunkedEncodingError)
        # If the data exists now, another process has prepared it.
        there = Path(builder.data_dir).exists()
        if there or (broken and attempts > 1):
            return _prepared(builder_class, directory, attempts - 1)
        raise DataError(_advice(builder, directory, error)) from error
    return builder


def _prepare(builder: Any, directory: str | None) -> None:
    import tensorflow_datasets as tfds

    root = Path(builder.data_dir_root)
    root.mkdir(parents=True, exist_ok=True)
    # By default TFDS reuses an extracted folder without checking it.
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
        "Add missing files, replace damaged ones, and start again. Incomplete data is "
        f"never used. You may delete incomplete downloads in {root / 'downloads'}."
    )


def _read(
    folder: Path, split: str, name: str, shape: tuple[int, ...], builder: Any
) -> Split:
    try:
        decoded = _paths(folder, split)[0].exists()
        if not decoded and not os.access(folder, os.W_OK):
            images, labels = zip(*_batches(builder, split), strict=True)
            names = _class_names(folder)
            return Split(np.concatenate(images), np.concatenate(labels), names)
        if not decoded:
            _decode(builder, split)
        return _mapped(folder, split, shape)
    except Exception as error:
        raise DataError(
            f"Cannot read the split {split!r} of {name!r}, prepared in "
            f"{folder}.\n{type(error).__name__}: {error}\n"
            "Expected complete files, and disk space for the decoded images. If files "
            "are damaged, delete that folder and start again."
        ) from error


def _paths(folder: Path, split: str) -> tuple[Path, Path]:
    return folder / f"kmtard-{split}-images.bin", folder / f"kmtard-{split}-labels.npy"


def _decode(builder: Any, split: str) -> None:
    images, labels = _paths(Path(builder.data_dir), split)
    # The images are moved into place last. If their file exists, so do the labels.
    with _new_file(images) as image_file, _new_file(labels) as label_file:
        numbers = []
        for pixels, classes in _batches(builder, split):
            image_file.write(pixels.tobytes())
            numbers.append(classes)
        np.save(label_file, np.concatenate(numbers))


def _mapped(folder: Path, split: str, shape: tuple[int, ...]) -> Split:
    images, labels = _paths(folder, split)
    classes = np.load(labels)
    whole = (len(classes), *shape)
    if images.stat().st_size != math.prod(whole):
        raise ValueError(
            f"{images} has {images.stat().st_size:,} bytes, images of shape {whole} "
            f"need {math.prod(whole):,}"
        )
    pixels = np.memmap(images, np.uint8, mode="c", shape=whole)
    return Split(pixels, classes, _class_names(folder))


def _class_names(folder: Path) -> tuple[str, ...]:
    """Return TFDS's names of the classes; empty if it has no names."""
    path = folder / "label.labels.txt"
    return tuple(path.read_text("utf-8").splitlines()) if path.is_file() else ()


def _batches(builder: Any, split: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    import tensorflow_datasets as tfds

    dataset = builder.as_dataset(
        split=split,
        batch_size=_DECODE_BATCH,
        as_supervised=True,
        # Read one shard after the other, so that the order is always the same.
        read_config=tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1),
    )
    for images, labels in tfds.as_numpy(dataset):
        yield images, labels.astype(np.int32)


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    with replaced(path) as temporary, open(temporary, "xb") as file:
        yield file
