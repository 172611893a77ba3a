"""A user's images as they come: any layout, size, kind and orientation."""

from __future__ import annotations

import csv
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kmtard.data.errors import DataError
from kmtard.data.image_folder import image_folder, image_folder_test
from kmtard.data.pipeline import TrainingStream, balanced_weights
from kmtard.data.sources import LazyImages

pytestmark = pytest.mark.once("jax")

# The package has a function of this name.
folders = importlib.import_module("kmtard.data.image_folder")
RED, BLUE = (255, 0, 0), (0, 0, 255)


def save(path: Path, image: Image.Image, **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **how)
    return path


def plain(color: Any = RED, size: tuple[int, int] = (8, 6), mode: str = "RGB") -> Any:
    """An image of one color; `size` is (width, height), as Pillow has it."""
    return Image.new(mode, size, color)


def fill(root: Path, counts: dict[str, int], **how: Any) -> Path:
    for kind, count in counts.items():
        for number in range(count):
            save(root / kind / f"{number:03}.png", plain((number, 0, 0), **how))
    return root


def test_one_folder_is_divided_by_class_share(tmp_path: Path) -> None:
    root = fill(tmp_path / "photos", {"cat": 20, "dog": 10})
    data = image_folder(str(root))
    assert np.bincount(data.test.labels).tolist() == [4, 2]
    assert np.bincount(data.train.labels).tolist() == [16, 8]
    assert not set(data.train.files) & set(data.test.files)
    assert any("6 of 30 images, 20 % of each class" in note for note in data.notes)
    again, other = image_folder(str(root)), image_folder(str(root), split_seed=1)
    assert again.test.files == data.test.files != other.test.files
    alone = image_folder_test(str(root))
    assert alone.files == data.test.files
    np.testing.assert_array_equal(alone.images, data.test.images)
    assert len(image_folder(str(root), test_share=0.5).test) == 15


def test_own_validation_images_are_held_out(tmp_path: Path) -> None:
    for part, count in (("train", 4), ("val", 3), ("test", 2)):
        fill(tmp_path / part, {"a": count, "b": count})
    data = image_folder(str(tmp_path))
    train, held_out = data.hold_out(0.1)
    assert held_out is data.validation and held_out is not None
    assert (len(train), len(held_out), len(data.test)) == (8, 6, 4)
    assert data.hold_out(0) == (data.train, None)


def test_validation_images_stand_in_for_missing_test_images(tmp_path: Path) -> None:
    for part, count in (("train", 4), ("valid", 3)):
        fill(tmp_path / part, {"a": count, "b": count})
    data = image_folder(str(tmp_path))
    assert (len(data.test), data.validation) == (6, None)
    assert any("valid/ is used as the test images" in note for note in data.notes)


@pytest.mark.parametrize(
    ("fit", "left"), [("crop", BLUE), ("stretch", RED), ("pad", RED)]
)
def test_any_size_becomes_the_wanted_one(
    tmp_path: Path, fit: Any, left: tuple[int, int, int]
) -> None:
    """Of a wide image, red at both ends, the crop keeps the blue middle."""
    image = plain(RED, (30, 10))
    image.paste(plain(BLUE, (10, 10)), (10, 0))
    for kind in "ab":
        for number in range(2):
            save(tmp_path / kind / f"{number}.png", image)
    save(tmp_path / "a" / "2.png", plain(RED, (6, 6)))
    data = image_folder(str(tmp_path), size=(6, 6), fit=fit, test_share=0.3)
    assert data.input_shape == (6, 6, 3)
    wide = data.train.images[[not f.endswith("2.png") for f in data.train.files]][0]
    middle = wide[3]
    assert np.abs(middle[0].astype(int) - left).max() < 60
    assert (wide[0].max() == 0) == (fit == "pad")
    assert any("4 of 5 images are scaled" in note for note in data.notes)


def test_sizes_that_differ_are_refused_with_advice(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 3, "b": 3})
    save(tmp_path / "a" / "000.png", plain(size=(9, 9)))
    with pytest.raises(DataError, match=r"size = \[HEIGHT, WIDTH\]"):
        image_folder(str(tmp_path))


def test_photos_are_turned_as_the_camera_was(tmp_path: Path) -> None:
    """Also for the size of the image, which is read from its header alone."""
    image = plain(RED, (8, 16))
    image.paste(plain(BLUE, (8, 8)), (0, 0))  # blue above red
    exif = Image.Exif()
    exif[0x0112] = 6  # turn to the right
    for kind in "ab":
        for number in range(2):
            save(tmp_path / kind / f"{number}.jpg", image, exif=exif, quality=95)
    data = image_folder(str(tmp_path))
    assert data.input_shape == (8, 16, 3)
    left, right = data.train.images[0][4, [2, 13]].astype(int)
    assert np.abs(left - RED).max() < 40 and np.abs(right - BLUE).max() < 40


@pytest.mark.parametrize(
    ("alpha", "seen"), [("ignore", RED), ("white", (255,) * 3), ("black", (0,) * 3)]
)
def test_what_shows_through(
    tmp_path: Path, alpha: Any, seen: tuple[int, int, int]
) -> None:
    for kind in "ab":
        for number in range(2):
            save(tmp_path / kind / f"{number}.png", plain((*RED, 0), mode="RGBA"))
    data = image_folder(str(tmp_path), alpha=alpha)
    assert data.train.images[0, 0, 0].tolist() == list(seen)


@pytest.mark.parametrize(("color", "channels"), [("grey", 1), ("color", 3)])
def test_grey_and_color_become_one(tmp_path: Path, color: Any, channels: int) -> None:
    fill(tmp_path, {"a": 2, "b": 2})
    save(tmp_path / "a" / "000.png", plain(7, mode="L"))
    assert image_folder(str(tmp_path), color=color).input_shape == (6, 8, channels)


def test_broken_files_are_counted_named_and_left_out_only_if_asked(
    tmp_path: Path,
) -> None:
    fill(tmp_path, {"a": 5, "b": 5})
    (tmp_path / "a" / "001.png").write_bytes(b"no image")
    whole = (tmp_path / "b" / "003.png").read_bytes()
    (tmp_path / "b" / "003.png").write_bytes(whole[:-30])  # damaged behind its header
    with pytest.raises(DataError, match=r"(?s)2 of 10 .*skip_broken.*001.*003"):
        image_folder(str(tmp_path))
    with pytest.warns(UserWarning, match=r"(?s)Skipped 2 of 10 .*001.*003"):
        data = image_folder(str(tmp_path), skip_broken=True)
    files = {*data.train.files, *data.test.files}
    assert len(files) == 8 and not files & {"a/001.png", "b/003.png"}


def test_a_class_of_broken_files_alone_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 4, "b": 2})
    for path in (tmp_path / "b").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="broken"), pytest.warns(UserWarning):
        image_folder(str(tmp_path), skip_broken=True)


def table(path: Path, rows: list[tuple[str, ...]], delimiter: str = ",") -> str:
    with open(path, "w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return str(path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_of_paths_and_labels(tmp_path: Path, delimiter: str) -> None:
    """Numbers as labels are in the order of numbers; a path may hold the delimiter."""
    rows: list[tuple[str, ...]] = [("File", "Label", "Split")]
    for number in range(9):
        name = f"images/{number},;.png"
        save(tmp_path / name, plain((number, 0, 0)))
        part = ("train", "val", "test")[number // 3]
        rows.append((name, ("2", "10", "1")[number % 3], part))
    data = image_folder(table(tmp_path / "mine.csv", rows, delimiter))
    assert data.class_names == ("1", "2", "10") and data.name == "mine"
    assert data.train.labels.tolist() == [1, 2, 0]
    assert data.train.images[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert data.validation is not None and len(data.validation) == 3
    assert data.test.files == ("images/6,;.png", "images/7,;.png", "images/8,;.png")


def test_a_table_without_a_split_is_divided(tmp_path: Path) -> None:
    rows: list[tuple[str, ...]] = [("path", "class")]
    for number in range(10):
        save(tmp_path / f"{number}.png", plain())
        rows.append((f"{number}.png", "ab"[number % 2]))
    data = image_folder(table(tmp_path / "mine.csv", rows))
    assert (len(data.train), len(data.test)) == (8, 2)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "b")], "names its columns"),
        ([("path", "label"), ("x.png", "")], r"(?s)1 lines are wrong.*line 2"),
        ([("path", "label", "split"), ("x.png", "a", "exam")], "split 'exam'"),
        ([("path", "label"), ("x.png", "a")], "of 1 classes"),
        (
            [("path", "label"), *[(f"{i}.png", "ab"[i % 2]) for i in range(4)]],
            r"(?s)4 of 4 files.*0.png",
        ),
    ],
)
def test_a_wrong_table_is_refused(
    tmp_path: Path, rows: list[tuple[str, ...]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        image_folder(table(tmp_path / "mine.csv", rows))


def test_unbalanced_classes_are_told_and_weighed(tmp_path: Path) -> None:
    data = image_folder(str(fill(tmp_path, {"a": 24, "b": 6})))
    assert any("unbalanced" in note and "class_weights" in note for note in data.notes)
    weights = balanced_weights(data.train.labels, 2)
    counts = np.bincount(data.train.labels)
    assert weights[0] * counts[0] == pytest.approx(weights[1] * counts[1])
    assert weights[data.train.labels].mean() == pytest.approx(1)
    stream = TrainingStream(data.train, batch_size=8, seed=0, class_weights=weights)
    for _, labels, weight in stream.dataset():
        np.testing.assert_array_equal(weight, weights[labels])


def test_resized_images_stream_from_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are those of the memory, also if the stream begins in mid-epoch."""
    root = fill(tmp_path, {"a": 10, "b": 10}, size=(20, 10))
    whole = image_folder(str(root), size=(6, 6)).train
    monkeypatch.setattr(folders, "IN_MEMORY", 1)
    lazy = image_folder(str(root), size=(6, 6)).train
    assert isinstance(lazy.images, LazyImages)
    streams = [
        TrainingStream(each, batch_size=4, seed=0, pad=1) for each in (whole, lazy)
    ]
    first, second = (list(each.dataset()) for each in streams)
    rest = list(streams[1].dataset(skip=2))
    for (x, y), (u, v) in zip([*first, *first[2:]], [*second, *rest], strict=True):
        np.testing.assert_array_equal(x, u)
        np.testing.assert_array_equal(y, v)


def test_classes_are_in_the_order_of_a_models_outputs(tmp_path: Path) -> None:
    root = fill(tmp_path, {"a": 5, "b": 10})
    data = image_folder(str(root), classes=("b", "a"))
    assert data.class_names == ("b", "a")
    assert np.bincount(data.train.labels).tolist() == [8, 4]
    with pytest.raises(DataError, match="each class of .* once: a, b. Received: b"):
        image_folder(str(root), classes=("b",))
