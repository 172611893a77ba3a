"""Failures while a data set is prepared, and the files that remain."""

from __future__ import annotations

import errno
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmtard.data import prepared
from kmtard.data.catalog import cifar10
from kmtard.data.errors import DataError
from kmtard.data.pipeline import TrainingStream
from kmtard.data.tiny_imagenet import tiny_imagenet
from kmtard.runs.files import RunError
from tests.kmtard.data.archives import (
    tiny_imagenet_files,
    trust,
    write_cifar10,
    write_zip,
)

tfds = pytest.importorskip("tensorflow_datasets")
TinyImagenet = pytest.importorskip("kmtard.data.tiny_imagenet_builder").TinyImagenet
pytestmark = pytest.mark.once("tensorflow")

CIFAR10: Any = tfds.builder_cls("cifar10")
# A process that is killed when it has prepared the training images and some others.
KILLED = """
import os, signal, sys
import tensorflow_datasets as tfds
from kmtard.data.catalog import cifar10
from tests.kmtard.data.archives import trust
from pathlib import Path

class Patch:
    def setattr(self, *arguments):
        setattr(*arguments)

Cifar10, directory = tfds.builder_cls("cifar10"), sys.argv[1]
trust(Patch(), Cifar10, Path(directory, "cifar-10-binary.tar.gz"))

def generate(self, prefix, paths, generate=Cifar10._generate_examples):
    for index, example in enumerate(generate(self, prefix, paths)):
        if (prefix, index) == ("test_", 3):
            os.kill(os.getpid(), signal.SIGKILL)
        yield example

Cifar10._generate_examples = generate
cifar10(directory)
"""


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole, trusted CIFAR-10 archive."""
    path, _, _ = write_cifar10(tmp_path)
    trust(monkeypatch, CIFAR10, path)
    return path


def left(folder: Path) -> set[str]:
    """The files of a failed preparation, except the archive and empty folders."""
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    return {name for name in files if "/" in name}


def test_a_second_start_needs_no_archive_and_maps_the_same_images(
    archive: Path,
) -> None:
    first = cifar10(str(archive.parent))
    archive.unlink()
    second = cifar10(str(archive.parent))
    for split in ("train", "test"):
        before, after = getattr(first, split), getattr(second, split)
        assert isinstance(after.images, np.memmap)
        np.testing.assert_array_equal(after.images, before.images)
        np.testing.assert_array_equal(after.labels, before.labels)


def test_a_stream_reads_mapped_images_in_place(archive: Path) -> None:
    split = cifar10(str(archive.parent)).train
    stream = TrainingStream(split, batch_size=8, seed=0)
    split.images[3] = 0  # in memory only, not in the file
    seen = np.concatenate([x for x, _ in stream.dataset()])
    sums = np.sort(split.images.sum((1, 2, 3), dtype=np.int64))
    np.testing.assert_array_equal(np.sort(np.rint(seen * 255).sum((1, 2, 3))), sums)


def test_prepared_data_may_be_read_only(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = str(archive.parent)
    mapped = cifar10(directory).train
    folder = archive.parent / "cifar10" / str(CIFAR10.VERSION)
    for path in folder.glob("kmtard*"):
        path.unlink()
    # Root may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    decoded = cifar10(directory).train
    np.testing.assert_array_equal(decoded.images, mapped.images)
    np.testing.assert_array_equal(decoded.labels, mapped.labels)
    assert not list(folder.glob("kmtard*"))


def test_a_missing_folder_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.directory to be a folder.*nowhere"):
        cifar10(str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()
    assert issubclass(DataError, RunError)  # which the commands print as a sentence


@pytest.mark.parametrize("damage", ["wrong", "truncated"])
def test_an_archive_with_a_wrong_checksum_is_refused(
    damage: str, archive: Path
) -> None:
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-9] if damage == "truncated" else whole + b"more")
    with pytest.raises(DataError, match="wrong checksum") as error:
        cifar10(str(archive.parent))
    for part in (archive.name, f"{len(whole):,} bytes", "cs.toronto.edu"):
        assert part in str(error.value)
    assert str(archive.parent) in str(error.value)
    assert not left(archive.parent)
    archive.write_bytes(whole)
    assert len(cifar10(str(archive.parent)).train) == 25


def test_a_truncated_archive_with_the_right_checksum_is_refused(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.write_bytes(archive.read_bytes()[:-5000])
    monkeypatch.undo()
    trust(monkeypatch, CIFAR10, archive)
    with pytest.raises(DataError, match="'cifar10'(.|\n)*cifar-10-binary"):
        cifar10(str(archive.parent))
    assert not left(archive.parent)


def test_an_interrupted_preparation_leaves_nothing(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any) -> Iterator[Any]:
        raise KeyboardInterrupt
        yield

    with monkeypatch.context() as patch:
        patch.setattr(CIFAR10, "_generate_examples", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cifar10(str(archive.parent))
    assert not left(archive.parent)
    assert len(cifar10(str(archive.parent)).train) == 25


def test_a_killed_preparation_is_made_anew(archive: Path) -> None:
    root = Path(__file__).parents[3]
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(archive.parent)],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == -9, process.stderr
    assert left(archive.parent)  # so it was in the midst of it
    data = cifar10(str(archive.parent))
    assert (len(data.train), len(data.test)) == (25, 5)
    assert np.bincount(data.train.labels).tolist() == [3] * 5 + [2] * 5


@pytest.mark.parametrize("place", ["prepare", "decode"])
def test_a_full_disk_is_named_and_nothing_half_made_is_used(
    place: str, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if place == "prepare":
            patch.setattr(tfds.core.DatasetInfo, "write_to_directory", full)
        else:
            patch.setattr(np, "concatenate", full)
        with pytest.raises(DataError, match="No space left on device") as error:
            cifar10(str(archive.parent))
    assert str(archive.parent / "cifar10") in str(error.value)
    assert not any("kmtard" in name for name in left(archive.parent))
    assert len(cifar10(str(archive.parent)).train) == 25


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")
@pytest.mark.parametrize("kib", [150, 210])
def test_a_disk_that_is_really_full(
    kib: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        path, _, _ = write_cifar10(tmp_path)
        trust(monkeypatch, CIFAR10, path)
        with pytest.raises(DataError, match="No space left on device"):
            cifar10(str(tmp_path))
        subprocess.run(["mount", "-o", "remount,size=9m", str(tmp_path)], check=True)
        assert len(cifar10(str(tmp_path)).train) == 25
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


@pytest.mark.parametrize("name", ["kmtard-train-images.bin", "*-train.tfrecord*"])
def test_damage_to_what_was_prepared_is_noticed(name: str, archive: Path) -> None:
    cifar10(str(archive.parent))
    folder = archive.parent / "cifar10" / str(CIFAR10.VERSION)
    [damaged] = folder.glob(name)
    damaged.write_bytes(damaged.read_bytes()[:-20])
    if name.startswith("*"):
        (folder / "kmtard-train-images.bin").unlink()
    with pytest.raises(DataError, match=f"split 'train'.*{folder}.*\n.*\n.*delete"):
        cifar10(str(archive.parent))


class Cutting(http.server.BaseHTTPRequestHandler):
    """Breaks the first `cuts` answers in the middle."""

    content = b""
    cuts = 0

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        cut = type(self).cuts > 0
        type(self).cuts -= 1
        half = len(self.content) // 2 if cut else len(self.content)
        self.wfile.write(self.content[:half])

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.mark.parametrize(("cuts", "succeeds"), [(0, True), (2, True), (3, False)])
def test_a_broken_download_starts_again(
    cuts: int, succeeds: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_zip(tmp_path / "tiny-imagenet-200.zip", tiny_imagenet_files())
    trust(monkeypatch, TinyImagenet, path)
    Cutting.content, Cutting.cuts = path.read_bytes(), cuts
    path.unlink()
    with http.server.HTTPServer(("127.0.0.1", 0), Cutting) as server:
        url = f"http://127.0.0.1:{server.server_port}/{path.name}"
        [info] = TinyImagenet.url_infos.values()
        monkeypatch.setattr(TinyImagenet, "url_infos", {url: info})
        monkeypatch.setattr(TinyImagenet, "URL", url)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            if succeeds:
                assert len(tiny_imagenet(str(tmp_path)).test) == 200
            else:
                with pytest.raises(DataError, match=f"from {url}"):
                    tiny_imagenet(str(tmp_path))
        finally:
            server.shutdown()
    assert Cutting.cuts == (-1 if succeeds else 0)


def test_a_preparation_by_another_process_is_used(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def second(builder: Any, directory: str | None) -> None:
        prepare(builder, directory)
        raise OSError(errno.ENOTEMPTY, "the other process renamed first")

    prepare = prepared._prepare
    monkeypatch.setattr(prepared, "_prepare", second)
    assert len(cifar10(str(archive.parent)).train) == 25
