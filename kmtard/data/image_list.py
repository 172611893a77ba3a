"""Find a user's images and their classes: in folders, or in a CSV file."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from kmtard.data.errors import DataError
from kmtard.data.pipeline import stratified_order
from kmtard.registry.bounded import read_bounded

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})
"""File endings that count as images, in lower or upper case."""

NAMED = 10
"""Largest number of files that a message names; the others are counted."""

VALIDATION = ("val", "valid", "validation")
"""Names of the folder with images to choose the best epoch by."""

LARGEST_CSV = 2**30  # bytes
PATHS = ("path", "file", "filename", "image")
LABELS = ("label", "class", "category", "target")
PARTS = ("split", "part", "set", "subset")
PART_OF = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(VALIDATION, "validation"),
    "test": "test",
    "testing": "test",
}


@dataclass
class Part:
    """The files of a part of the data.

    Attributes:
        paths: the files.
        labels: int (n,), the class of each.
    """

    paths: list[Path] = field(default_factory=list)
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def without(self, left_out: set[Path]) -> Part:
        """Return the part without some files."""
        kept = [path not in left_out for path in self.paths]
        paths = [path for path, keep in zip(self.paths, kept, strict=True) if keep]
        return Part(paths, self.labels[np.array(kept, bool)])


@dataclass
class ImageList:
    """Where the images of a data set are.

    Attributes:
        name: of the data set.
        root: the folder that the files' names are relative to.
        classes: names of the classes.
        parts: "train" and "test", and maybe "validation".
        notes: what was decided about the parts, one text each.
    """

    name: str
    root: Path
    classes: list[str]
    parts: dict[str, Part]
    notes: list[str] = field(default_factory=list)

    def order(self, classes: Sequence[str] | None) -> None:
        """Number the classes in a given order; None leaves it as it is.

        Raises:
            DataError: these are not the names of the classes.
        """
        if classes is None:
            return
        if sorted(classes) != sorted(self.classes):
            raise DataError(
                f"Expected data.options.classes to name each class of {self.root} "
                f"once: {', '.join(self.classes)}. Received: {', '.join(classes)}."
            )
        number_of = np.array([classes.index(name) for name in self.classes])
        for name, part in self.parts.items():
            self.parts[name] = Part(part.paths, number_of[part.labels])
        self.classes = list(classes)

    def relative(self, path: Path) -> str:
        """Return a file's name in the data set."""
        return str(path.relative_to(self.root) if self.root in path.parents else path)


def find(place: Path, test_share: float, seed: int) -> ImageList:
    """Return the images at a place.

    Args:
        place: a folder with `train`, `test` and maybe `val`, each with one folder per
            class; a folder with one folder per class; or a CSV file.
        test_share: share of the images of each class that become the test images, where
            nothing says which are.
        seed: decides which.

    Raises:
        DataError: a folder or a column is missing, a class has no images, or the parts
            have different classes.
    """
    if place.is_file():
        found = _in_csv(place)
    elif (place / "train").exists() or (place / "test").exists():
        return _in_parts(place)
    else:
        found = _in_one_folder(place)
    if "test" not in found.parts:
        _divide(found, test_share, seed)
    return found


def find_test(place: Path, test_share: float, seed: int) -> ImageList:
    """Return the images at a place; of a folder with parts, only look into `test`."""
    folder = place / "test"
    if place.is_file() or not folder.exists():
        return find(place, test_share, seed)
    classes = _classes(folder)
    if (place / "train").is_dir():
        _check_same(place / "train", _classes(place / "train"), folder, classes)
    parts = {"test": _files(folder, classes)}
    return ImageList(place.resolve().name, place, classes, parts)


def lines_of(items: Sequence[object]) -> str:
    """Return the first items on a line each, and how many more there are."""
    more = [f"and {len(items) - NAMED} more"] if len(items) > NAMED else []
    return "".join(f"\n  {item}" for item in [*islice(items, NAMED), *more])


def _in_parts(place: Path) -> ImageList:
    train, test = place / "train", place / "test"
    classes = _classes(train)
    own = [place / name for name in VALIDATION if (place / name).is_dir()]
    notes = []
    folders = {"train": train}
    if own and not test.exists():
        folders["test"] = own[0]
        notes.append(
            f"{own[0].name}/ is used as the test images, because there is no test/"
        )
    else:
        folders |= {"validation": own[0]} if own else {}
        folders["test"] = test
    for folder in folders.values():
        _check_same(train, classes, folder, _classes(folder))
    parts = {name: _files(folder, classes) for name, folder in folders.items()}
    return ImageList(place.resolve().name, place, classes, parts, notes)


def _in_one_folder(place: Path) -> ImageList:
    if not any(path.is_dir() for path in _listed(place)):
        raise DataError(
            f"Expected a folder {place / 'train'} with one folder per class, or one "
            f"folder per class in {place} itself. Create it."
        )
    classes = _classes(place)
    parts = {"train": _files(place, classes)}
    return ImageList(place.resolve().name, place, classes, parts)


def _divide(found: ImageList, test_share: float, seed: int) -> None:
    """Take test images from the training images, by class share."""
    train = found.parts["train"]
    count = max(round(test_share * len(train.paths)), len(found.classes))
    if not 0 < count <= len(train.paths) - len(found.classes):
        raise DataError(
            f"Expected at least two images of each class in {found.root}, so that "
            f"there are test images. Received: {len(train.paths)} images of "
            f"{len(found.classes)} classes."
        )
    order = stratified_order(train.labels, seed)
    for name, rows in (("test", order[:count]), ("train", order[count:])):
        rows = np.sort(rows)
        paths = [train.paths[row] for row in rows.tolist()]
        found.parts[name] = Part(paths, train.labels[rows])
    found.notes.append(
        f"{count} of {len(train.paths)} images, {100 * test_share:.3g} % of each "
        f"class, are the test images (test_share = {test_share:g}, "
        f"split_seed = {seed})"
    )


def _in_csv(path: Path) -> ImageList:
    try:
        text = read_bounded(path, LARGEST_CSV).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read {path} as UTF-8 text: {error}") from error
    header = text.partition("\n")[0]
    comma = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text), delimiter=comma)
    columns = {name.strip().lower(): name for name in reader.fieldnames or () if name}
    file, label, part = (
        next((columns[name] for name in names if name in columns), None)
        for names in (PATHS, LABELS, PARTS)
    )
    if file is None or label is None:
        raise DataError(
            f"Expected {path} to begin with a line that names its columns: one of "
            f"{', '.join(PATHS)}, one of {', '.join(LABELS)}, and maybe one of "
            f"{', '.join(PARTS)}. Received: {header[:200]!r}."
        )
    rows: dict[str, list[tuple[Path, str]]] = {}
    wrong = []
    for number, row in enumerate(reader, 2):
        name, kind = (row[file] or "").strip(), (row[label] or "").strip()
        given = (row[part] or "").strip().lower() if part else "train"
        if not name or not kind or given not in PART_OF:
            what = f"split {given!r}" if name and kind else "path or label is empty"
            wrong.append(f"line {number}: {what}")
            continue
        rows.setdefault(PART_OF[given], []).append((path.parent / name, kind))
    if wrong:
        raise DataError(
            f"Expected a path, a label and, if there is such a column, a split of "
            f"{', '.join(PART_OF)} in each line of {path}. {len(wrong)} lines are "
            f"wrong:{lines_of(wrong)}"
        )
    classes = _sorted({kind for part in rows.values() for _, kind in part})
    number_of = {kind: number for number, kind in enumerate(classes)}
    parts = {
        name: Part(
            [file for file, _ in each],
            np.array([number_of[kind] for _, kind in each], np.int64),
        )
        for name, each in rows.items()
    }
    if "train" not in parts or len(classes) < 2:
        counts = [f"{len(each.paths)} for {name}" for name, each in parts.items()]
        raise DataError(
            f"Expected training images of at least two classes in {path}. Received: "
            f"{', '.join(counts) or 'none'}, of {len(classes)} classes."
        )
    found = ImageList(path.stem, path.parent, classes, parts)
    if "validation" in parts and "test" not in parts:
        parts["test"] = parts.pop("validation")
        found.notes.append("the validation images are used as the test images")
    return found


def _sorted(labels: set[str]) -> list[str]:
    """Return labels in the order of numbers if all are numbers, else of letters."""
    if all(label.isdecimal() for label in labels):
        return sorted(labels, key=int)
    return sorted(labels)


def _listed(folder: Path) -> list[Path]:
    """Return the content of a folder, sorted, without hidden files and folders."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _classes(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DataError(
            f"Expected a folder {folder} with one folder per class. Create it."
        )
    classes = [path.name for path in _listed(folder) if path.is_dir()]
    if not classes:
        raise DataError(
            f"Expected one folder per class in {folder}, which has no folders. Add "
            "them, such as cat/ and dog/, with the images in them."
        )
    return classes


def _check_same(one: Path, ours: list[str], other: Path, theirs: list[str]) -> None:
    if ours != theirs:
        raise DataError(
            f"Expected the same class folders in {one} and "
            f"{other}. In only one of them: "
            f"{', '.join(sorted(set(ours) ^ set(theirs)))}. Add or remove folders."
        )


def _files(folder: Path, classes: list[str]) -> Part:
    """Return the images of a part and their labels; warn about unread files."""
    left_out = [path for path in _listed(folder) if not path.is_dir()]
    files: list[list[Path]] = []
    for name in classes:
        inside = _listed(folder / name)
        files.append([p for p in inside if _is_image(p)])
        left_out += [p for p in inside if not _is_image(p)]
    kinds = ", ".join(sorted(SUFFIXES))
    if left_out:
        folders = sum(path.is_dir() for path in left_out)
        warnings.warn(
            f"Not read in {folder}: {len(left_out) - folders} files and {folders} "
            f"folders. Images are read from CLASS/NAME in {folder} if they end in "
            f"{kinds}. Convert or move those that are images:{lines_of(left_out)}",
            stacklevel=3,
        )
    empty = [folder / name for name, p in zip(classes, files, strict=True) if not p]
    if empty:
        raise DataError(
            f"Expected images ({kinds}) in each class folder, but {len(empty)} of "
            f"{len(classes)} are empty. Add images, or remove the class from train and "
            f"test:{lines_of(empty)}"
        )
    labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in files])
    return Part([path for paths in files for path in paths], labels)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.is_dir()
