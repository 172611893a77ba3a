"""Small archives with the same layout as the published data sets."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def pixels(count: int, *shape: int) -> np.ndarray:
    return np.random.RandomState(0).randint(0, 256, (count, *shape)).astype(np.uint8)


def trust(monkeypatch: pytest.MonkeyPatch, builder_class: Any, *paths: Path) -> None:
    """Register the sizes and checksums of files in place of the published ones."""
    from tensorflow_datasets.core.download.checksums import compute_url_info

    urls = {url.rpartition("/")[2]: url for url in builder_class.url_infos}
    infos = {urls[path.name]: compute_url_info(path) for path in paths}
    monkeypatch.setattr(builder_class, "url_infos", infos)


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def cifar_records(labels: np.ndarray, images: np.ndarray) -> bytes:
    """A record: its labels, then the red, the green and the blue plane."""
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return np.concatenate([labels, planes], axis=1).astype(np.uint8).tobytes()


def write_cifar10(folder: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """An archive of 30 images, its five training batches of five and a test batch."""
    images, labels = pixels(30, 32, 32, 3), np.arange(30) % 10
    batches = [f"data_batch_{n}.bin" for n in range(1, 6)] + ["test_batch.bin"]
    parts = zip(batches, np.split(labels[:, None], 6), np.split(images, 6), strict=True)
    files = {name: cifar_records(y, x) for name, y, x in parts}
    files["batches.meta.txt"] = "".join(f"class {n}\n" for n in range(10)).encode()
    path = folder / "cifar-10-binary.tar.gz"
    write_tar(path, {f"cifar-10-batches-bin/{name}": files[name] for name in files})
    return path, images, labels


def write_cifar100(folder: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """An archive of 10 images, of which the last 4 are for the test."""
    images, fine = pixels(10, 32, 32, 3), np.arange(10) * 11
    labels = np.stack([fine // 5, fine], axis=1)
    files = {
        "train.bin": cifar_records(labels[:6], images[:6]),
        "test.bin": cifar_records(labels[6:], images[6:]),
        "coarse_label_names.txt": "".join(f"c{n}\n" for n in range(20)).encode(),
        "fine_label_names.txt": "".join(f"f{n}\n" for n in range(100)).encode(),
    }
    path = folder / "cifar-100-binary.tar.gz"
    write_tar(path, {f"cifar-100-binary/{name}": files[name] for name in files})
    return path, images, fine


def encoded(image: np.ndarray, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(
        file, kind, **options
    )
    return file.getvalue()


def jpeg(image: np.ndarray) -> bytes:
    return encoded(image, "JPEG", quality=100)


def tiny_imagenet_files(classes: int = 200) -> dict[str, bytes]:
    """Two training images per class, the second one gray, and one for validation."""
    folder = "tiny-imagenet-200"
    # Their order in the file is not the alphabetical one.
    wnids = [f"n{1000 + 7 * n % 200:08d}" for n in range(200)]
    files = {f"{folder}/wnids.txt": "\n".join(wnids).encode()}
    notes = []
    for number, wnid in enumerate(wnids[:classes]):
        shade = np.full((64, 64, 1), number, np.uint8)
        red = np.concatenate([shade, 0 * shade, 0 * shade], axis=-1)
        train = f"{folder}/train/{wnid}"
        files[f"{train}/{wnid}_boxes.txt"] = b""
        files[f"{train}/images/{wnid}_0.JPEG"] = jpeg(red)
        files[f"{train}/images/{wnid}_1.JPEG"] = jpeg(shade)
        files[f"{folder}/val/images/val_{number}.JPEG"] = jpeg(shade)
        notes.append(f"val_{number}.JPEG\t{wnid}\t0\t0\t63\t63")
    files[f"{folder}/val/val_annotations.txt"] = "\n".join(notes).encode()
    files[f"{folder}/test/images/test_0.JPEG"] = jpeg(shade)
    return files


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.tobytes()


def write_fashion_mnist(folder: Path, train: int = 8) -> list[Path]:
    """The four files; image `i` of a split has the label `i % 10`."""
    paths = []
    for prefix, count in (("train", train), ("t10k", 5)):
        arrays = {
            "images-idx3": pixels(count, 28, 28),
            "labels-idx1": np.arange(count, dtype=np.uint8) % 10,
        }
        for kind, array in arrays.items():
            path = folder / f"{prefix}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(idx(array), 1))
            paths.append(path)
    return paths
