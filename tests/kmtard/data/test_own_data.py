"""The user's own data: folders of image files, and NumPy archives."""

from __future__ import annotations

import importlib
import io
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kmtard.data.errors import DataError
from kmtard.data.image_folder import image_folder, image_folder_test
from kmtard.data.npz import npz
from kmtard.data.pipeline import TrainingStream
from kmtard.data.sources import LazyImages
from tests.kmtard.data.archives import encoded, jpeg, pixels

pytestmark = pytest.mark.once("jax")

# The package's attribute of this name is the function.
folders = importlib.import_module("kmtard.data.image_folder")
RGB, GREY = pixels(6, 5, 4, 3), pixels(6, 5, 4, 1)


def converted(image: np.ndarray, mode: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).convert(mode).save(file, "PNG")
    return file.getvalue()


def png(image: np.ndarray) -> bytes:
    return encoded(image, "PNG")


def write_folder(root: Path, images: np.ndarray, classes: str = "ba") -> Path:
    """Image `i` in `train`, then in `test`, goes to class `i % 2`."""
    for part, chosen in (("train", images[:4]), ("test", images[4:])):
        for number, image in enumerate(chosen):
            folder = root / part / classes[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}.PNG").write_bytes(png(image))
    return root


@pytest.mark.parametrize("images", [RGB, GREY])
def test_folders_in_the_order_of_their_names(
    images: np.ndarray, tmp_path: Path
) -> None:
    root = write_folder(tmp_path / "mine", images)
    data = image_folder(str(root))
    assert (data.name, data.num_classes) == ("mine", 2)
    assert data.class_names == data.train.class_names == ("a", "b")
    assert data.train.labels.tolist() == [0, 0, 1, 1]
    assert data.test.labels.tolist() == [0, 1]
    np.testing.assert_array_equal(data.train.images, images[[1, 3, 0, 2]])
    np.testing.assert_array_equal(data.test.images, images[[5, 4]])


def test_grey_images_and_opacity_among_coloured_ones(tmp_path: Path) -> None:
    root = write_folder(tmp_path, RGB)
    opaque = np.concatenate([RGB[1], GREY[1]], axis=-1)
    (root / "train/a/1.PNG").write_bytes(png(opaque))
    (root / "train/a/3.PNG").write_bytes(png(GREY[3]))
    (root / "train/b/0.PNG").write_bytes(png(np.concatenate([GREY[0]] * 2, axis=-1)))
    (root / "train/b/2.PNG").rename(root / "train/b/2.jpeg")
    (root / "train/b/2.jpeg").write_bytes(jpeg(np.full((5, 4, 3), 99, np.uint8)))
    images = image_folder(str(root)).train.images
    np.testing.assert_array_equal(images[0], RGB[1])
    for image, grey in ((images[1], GREY[3]), (images[2], GREY[0])):
        np.testing.assert_array_equal(image, np.repeat(grey, 3, axis=-1))
    assert np.abs(images[3].astype(int) - 99).max() <= 1


def test_a_colour_image_among_grey_ones_is_refused(tmp_path: Path) -> None:
    root = write_folder(tmp_path, GREY)
    (root / "train/b/2.PNG").write_bytes(png(RGB[2]))
    with pytest.raises(DataError, match=r"(?s)5 x 4 pixels, grey, .*2.PNG: .* color"):
        image_folder(str(root))


HIDDEN = (".ipynb_checkpoints", ".git")


def test_hidden_folders_and_files_are_ignored(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    root = write_folder(tmp_path, RGB)
    for part in ("train", "test"):
        for name in HIDDEN:
            (root / part / name).mkdir()
            (root / part / name / "1.png").write_bytes(png(RGB[0]))
        (root / part / ".DS_Store").write_bytes(b"of macOS")
        (root / part / "a" / "._1.PNG").write_bytes(b"a resource fork")
        (root / part / "a" / ".cache").mkdir()
    data = image_folder(str(root))
    assert data.class_names == ("a", "b")
    np.testing.assert_array_equal(data.train.images, RGB[[1, 3, 0, 2]])
    assert data.test.labels.tolist() == [0, 1]
    assert not recwarn.list


def test_webp_is_read(tmp_path: Path) -> None:
    root = write_folder(tmp_path, RGB)
    (root / "train/a/3.PNG").unlink()
    content = encoded(RGB[3], "WEBP", lossless=True, exact=True)
    (root / "train/a/3.WebP").write_bytes(content)
    images = image_folder(str(root)).train.images
    np.testing.assert_array_equal(images, RGB[[1, 3, 0, 2]])


def test_what_is_not_read_is_counted_and_named(tmp_path: Path) -> None:
    root = write_folder(tmp_path, RGB)
    (root / "train/a/notes.txt").write_text("no image")
    (root / "train/a/more").mkdir()
    (root / "train/a/more/9.png").write_bytes(png(RGB[0]))
    for number in range(11):
        (root / f"train/loose{number:02}.png").write_bytes(png(RGB[0]))
    with pytest.warns(UserWarning, match="12 files and 1 folders") as told:
        data = image_folder(str(root))
    assert len(data.train) == 4
    [text] = [str(each.message) for each in told]
    assert ".bmp, .jpeg, .jpg, .png, .webp" in text
    assert "loose09.png" in text and text.endswith("and 3 more")


def test_test_images_are_read_alone_and_must_fit_the_model(tmp_path: Path) -> None:
    root = write_folder(tmp_path, RGB)
    (root / "train/b/2.PNG").write_bytes(b"damaged")
    test = image_folder_test(str(root), (5, 4, 3))
    np.testing.assert_array_equal(test.images, RGB[[5, 4]])
    assert (test.labels.tolist(), test.class_names) == ([0, 1], ("a", "b"))
    with pytest.raises(DataError, match=r"(?s)32 x 32.*model expects. 2 of 2 files"):
        image_folder_test(str(root), (32, 32, 3))
    (root / "train/c").mkdir()
    with pytest.raises(DataError, match="In only one of them: c"):
        image_folder_test(str(root))


DAMAGED = [
    ("train/b/2.PNG", b"no image", "not an image, or damaged"),
    ("train/b/2.PNG", png(RGB[2])[:-30], "truncated"),
    ("train/a/1.PNG", b"", "not an image, or damaged"),
    ("train/b/0.PNG", png(pixels(1, 5, 5, 3)[0]), "5 x 5 pixels, color"),
]


@pytest.mark.parametrize(("path", "content", "message"), DAMAGED)
def test_an_image_that_does_not_fit_is_named(
    path: str, content: bytes, message: str, tmp_path: Path
) -> None:
    root = write_folder(tmp_path, RGB)
    (root / path).write_bytes(content)
    with pytest.raises(DataError, match=rf"(?s)1 of 6 files.*{path}: .*{message}"):
        image_folder(str(root))


def test_all_images_that_do_not_fit_are_named_at_once(tmp_path: Path) -> None:
    """Also one that is damaged behind its head, and one of the test images."""
    root = write_folder(tmp_path, RGB)
    paths = ("train/a/1.PNG", "train/b/0.PNG", "train/b/2.PNG", "test/a/1.PNG")
    contents = (DAMAGED[0][1], DAMAGED[3][1], DAMAGED[1][1], png(RGB[1][:4]))
    for path, content in zip(paths, contents, strict=True):
        (root / path).write_bytes(content)
    with pytest.raises(DataError, match="4 of 6 files are not") as caught:
        image_folder(str(root))
    assert all(path in str(caught.value) for path in paths)


def test_of_many_misfits_the_first_ones_are_named(tmp_path: Path) -> None:
    root = write_folder(tmp_path, RGB)
    for number in range(14):
        (root / f"train/b/x{number:02}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"(?s)14 of 20 files.*x09.*and 4 more$"):
        image_folder(str(root))


def test_a_large_folder_is_read_while_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_folder(tmp_path, RGB)
    (root / "train/a/1.PNG").write_bytes(png(GREY[1]))
    (root / "train/a/1.PNG").rename(root / "train/a/8.PNG")
    whole = image_folder(str(root))
    monkeypatch.setattr(folders, "IN_MEMORY", 5 * 4 * 3 * 3)
    streamed = image_folder(str(root))
    assert isinstance(streamed.train.images, LazyImages)
    assert isinstance(streamed.test.images, np.ndarray)
    for ours, theirs in ((streamed.train, whole.train), (streamed.test, whole.test)):
        np.testing.assert_array_equal(ours.images, theirs.images)
        np.testing.assert_array_equal(ours.labels, theirs.labels)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no image", "train/b/2.PNG: not an image"),
        (png(pixels(1, 5, 5, 3)[0]), "train/b/2.PNG: 5 x 5 pixels"),
    ],
)
def test_a_large_folder_is_looked_at_first(
    content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_folder(tmp_path, RGB)
    (root / "train/b/2.PNG").write_bytes(content)
    monkeypatch.setattr(folders, "IN_MEMORY", 1)
    with pytest.raises(DataError, match=f"(?s){message}"):
        image_folder(str(root))


def test_damage_that_only_decoding_finds_breaks_the_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_folder(tmp_path, RGB)
    (root / "train/b/2.PNG").write_bytes(png(RGB[2])[:-30])
    monkeypatch.setattr(folders, "IN_MEMORY", 1)
    stream = TrainingStream(image_folder(str(root)).train, batch_size=2, seed=0)
    with pytest.raises(DataError, match="train/b/2.PNG: .*truncated"):
        list(stream.dataset())


@pytest.mark.parametrize("name", ["PNG", "BMP", "palette", "16 bits", "1 bit", "JPEG"])
def test_images_are_those_that_tensorflow_decodes(name: str, tmp_path: Path) -> None:
    """JPEG: nearly, since TensorFlow decodes it with less accurate arithmetic."""
    tf = pytest.importorskip("tensorflow")
    smooth = np.add.outer(3 * np.arange(40), 2 * np.arange(30))[..., np.newaxis]
    image = np.concatenate([smooth, smooth + 30, 220 - smooth], -1).astype(np.uint8)
    encode = {
        "PNG": lambda: png(image),
        "BMP": lambda: encoded(image, "BMP"),
        "palette": lambda: converted(image, "P"),
        "16 bits": lambda: tf.io.encode_png(257 * smooth.astype(np.uint16)).numpy(),
        "1 bit": lambda: converted(image, "1"),
        "JPEG": lambda: encoded(image, "JPEG", quality=90),
    }
    content = encode[name]()
    for folder in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "0.png").write_bytes(content)
    ours = image_folder(str(tmp_path)).train.images[0]
    theirs = tf.io.decode_image(content, expand_animations=False).numpy()
    assert ours.shape == theirs.shape
    difference = np.abs(ours.astype(int) - theirs).max()
    assert difference <= (6 if name == "JPEG" else 0)


def test_folders_that_are_missing_are_named(tmp_path: Path) -> None:
    for folder in (None, str(tmp_path / "nowhere")):
        with pytest.raises(DataError, match=f"data.directory.*Received: {folder!r}"):
            image_folder(folder)
    with pytest.raises(DataError, match=f"Expected a folder {tmp_path}/train"):
        image_folder(str(tmp_path))
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=f"folder per class in {tmp_path}/train"):
        image_folder(str(tmp_path))
    write_folder(tmp_path, RGB)
    (tmp_path / "train" / "c").mkdir()
    with pytest.raises(DataError, match="same class folders.*In only one of them: c"):
        image_folder(str(tmp_path))
    (tmp_path / "test" / "c").mkdir()
    with pytest.raises(DataError, match=f"(?s)1 of 3 are empty.*{tmp_path}/train/c"):
        image_folder(str(tmp_path))


def test_train_and_test_of_different_sizes_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, RGB)
    for path in (tmp_path / "test").rglob("*.PNG"):
        path.write_bytes(png(pixels(1, 6, 6, 3)[0]))
    with pytest.raises(DataError, match=r"(?s)of 5 x 4 .*2 of 6 files.*6 x 6"):
        image_folder(str(tmp_path))


def arrays(**changes: Any) -> dict[str, Any]:
    labels = np.arange(6) % 3
    chosen = {"x_train": RGB[:4], "y_train": labels[:4]}
    chosen |= {"x_test": RGB[4:], "y_test": labels[4:]} | changes
    return {name: array for name, array in chosen.items() if array is not None}


@pytest.mark.parametrize("given", ["file", "folder"])
def test_npz(given: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays())
    data = npz(str(path if given == "file" else tmp_path))
    assert (data.name, data.num_classes) == ("mine", 3)
    np.testing.assert_array_equal(data.train.images, RGB[:4])
    assert data.test.labels.tolist() == [1, 2]
    assert data.class_names == ()


def test_npz_with_class_names_and_a_hidden_file_beside(tmp_path: Path) -> None:
    names = ("cat", "dog", "fox", "owl")
    np.savez(tmp_path / "mine.npz", **arrays(class_names=np.array(names)))
    (tmp_path / "._mine.npz").write_bytes(b"a resource fork")
    data = npz(str(tmp_path))
    assert (data.class_names, data.num_classes) == (names, 4)
    assert data.train.divide(1)[1].class_names == names
    np.savez(tmp_path / "mine.npz", **arrays(class_names=np.array(names[:2])))
    with pytest.raises(DataError, match="2 names, and the label 2"):
        npz(str(tmp_path))


def test_npz_takes_the_shapes_of_keras(tmp_path: Path) -> None:
    path = tmp_path / "grey.npz"
    grey = {"x_train": GREY[:4, ..., 0], "x_test": GREY[4:, ..., 0]}
    np.savez_compressed(path, **arrays(**grey, y_train=np.uint8([[0], [1], [2], [0]])))
    data = npz(str(path))
    np.testing.assert_array_equal(data.train.images, GREY[:4])
    assert data.train.labels.tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "missing: y_test; found: x_train, y_train, x_test"),
        ({"x_train": RGB[:4] / 255}, "uint8 images.*float64"),
        ({"y_train": np.eye(4)}, r"labels.*float64 \(4, 4\).*one-hot"),
        ({"y_train": np.arange(3)}, r"one for each image.*\(4,\).*\(3,\)"),
        ({"y_train": np.arange(4) - 1}, "labels from 0.*Received: -1"),
        ({"x_test": np.zeros((2, 3, 3, 3), np.uint8)}, "images of the same shape"),
        ({"y_train": np.array([0, 1, 2, None])}, "Object arrays cannot be loaded"),
    ],
)
def test_npz_refuses_arrays(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "mine.npz", **arrays(**changes))
    with pytest.raises(DataError, match=f"(?s){tmp_path}/mine.npz.*{message}"):
        npz(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_npz_refuses_a_damaged_file(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays())
    path.write_bytes(path.read_bytes()[:-50] if content is None else content)
    with pytest.raises(DataError, match=f"Cannot use {path}"):
        npz(str(path))


def test_npz_refuses_what_is_no_array(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays(x_train=None))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x_train", b"bytes")
    with pytest.raises(DataError, match=f"(?s)Cannot use {path}"):
        npz(str(path))


def test_an_image_that_declares_a_huge_size_is_refused(tmp_path: Path) -> None:
    root = write_folder(tmp_path, RGB)
    path = root / "train/b/0.PNG"
    content = path.read_bytes()
    # Signature, then the length and the name of the first chunk.
    head = b"IHDR" + struct.pack(">II", 100_000, 100_000) + content[24:29]
    checksum = struct.pack(">I", zlib.crc32(head))
    path.write_bytes(content[:12] + head + checksum + content[33:])
    with pytest.raises(
        DataError, match=r"(?s)0\.PNG: .*10000000000 pixels.*exceeds limit"
    ):
        image_folder(str(root))


def test_a_pipe_among_the_images_does_not_block(tmp_path: Path) -> None:
    root = write_folder(tmp_path, RGB)
    (root / "train/b/0.PNG").unlink()
    os.mkfifo(root / "train/b/0.PNG")
    with pytest.raises(DataError, match=r"(?s)0\.PNG: .*a pipe, not a regular file"):
        image_folder(str(root))


def test_npz_needs_one_file(tmp_path: Path) -> None:
    for folder in (None, str(tmp_path / "nowhere.npz")):
        with pytest.raises(DataError, match=f"file. Received: {folder!r}"):
            npz(folder)
    with pytest.raises(DataError, match="It holds 0 of them"):
        npz(str(tmp_path))
