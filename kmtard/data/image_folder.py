"""A user's own data set, in folders of image files or listed in a CSV file."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from kmtard.data import image_list
from kmtard.data.errors import DataError
from kmtard.data.image_files import (
    Alpha,
    Color,
    Decoding,
    Fit,
    ImageFiles,
    Shape,
    fits,
    readings,
    side_by_side,
    size_text,
)
from kmtard.data.image_list import ImageList, Part, lines_of
from kmtard.data.pipeline import DataSet, Split
from kmtard.data.sources import Images, LazyImages
from kmtard.registry.ranges import InnerShare, Seed, Side, checked

IN_MEMORY = 2**30
"""Largest split in bytes that is decoded into memory. A larger one stays on the disk.

This affects the speed of a training, not its result.
"""

UNBALANCED = 3
"""Factor between the largest and the smallest class above which a note tells it."""


@checked
def image_folder(
    directory: str | None = None,
    *,
    size: tuple[Side, Side] | None = None,
    fit: Fit = "crop",
    color: Color = "auto",
    alpha: Alpha = "ignore",
    test_share: InnerShare = 0.2,
    split_seed: Seed = 0,
    skip_broken: bool = False,
    classes: tuple[str, ...] | None = None,
) -> DataSet:
    """Return the images in `train/CLASS/` and `test/CLASS/` of a folder.

    The folder may also have `val/CLASS/`, whose images then select the best epoch. A
    folder with one folder per class, without `train` and `test`, is divided: the same
    share of each class becomes the test images. In place of a folder, a CSV file lists
    paths and labels, with the columns `path`, `label` and maybe `split`. Paths are
    relative to its folder.

    Classes are numbered in the alphabetical order of their names. Without `size`, all
    images must have the same size; the most frequent one in `train` is expected. If
    the first image is gray, all must be gray. If it is in color, gray images get three
    equal channels. Photos are turned as their EXIF orientation says, and of 16-bit
    images only the upper 8 bits are used.

    Files and folders with names that begin with a dot are ignored. A warning counts and
    names other files that are not read: those without a suffix from `SUFFIXES`, those
    next to the class folders, and folders inside the class folders.

    Splits of more than `IN_MEMORY` bytes stay on the disk. The header of each file is
    checked first, and the images are decoded batch by batch during training. A file
    that is damaged after its header then stops the training.

    Args:
        directory: The folder with `train` and `test`, the folder with the classes, or
            the CSV file.
        size: `(height, width)` that all images are brought to.
        fit: How: "crop" cuts off what is outside of the middle, "pad" adds black
            borders, "stretch" changes the proportions.
        color: "grey" or "color" converts all images; "auto" takes them as they are.
        alpha: "white" or "black" shows through transparent pixels; "ignore" takes the
            color that the file has there.
        test_share: Share of each class that becomes the test images where no folder or
            column tells which they are.
        split_seed: Decides which images these are.
        skip_broken: Whether to leave out files that cannot be read, with a warning that
            counts and names them. Otherwise they are an error.
        classes: Names of all classes, in the order of a trained model's outputs;
            alphabetical if left out.

    Raises:
        DataError: A folder is missing or has no images, `train` and `test` have
            different classes, or images are damaged, have another size, or are in color
            among gray ones. It names up to `NAMED` of these files and counts all.
    """
    found = image_list.find(_place(directory), test_share, split_seed)
    found.order(classes)
    decoding = Decoding(size, fit, color, alpha)
    shape = _checked_files(found, decoding, skip_broken=skip_broken)
    splits = _splits(found, shape, decoding)
    return DataSet(
        found.name,
        splits["train"],
        splits["test"],
        len(found.classes),
        validation=splits.get("validation"),
        notes=(*found.notes, *_notes(found, decoding, shape)),
    )


def image_folder_test(
    directory: str | None = None,
    shape: tuple[int, int, int] | None = None,
    *,
    size: tuple[int, int] | None = None,
    fit: Fit = "crop",
    color: Color = "auto",
    alpha: Alpha = "ignore",
    test_share: float = 0.2,
    split_seed: int = 0,
    skip_broken: bool = False,
    classes: tuple[str, ...] | None = None,
) -> Split:
    """Return only the test images; see `image_folder`.

    No file in `train` is read. If `train` has folders, they must be the same classes.

    Args:
        directory: As in `image_folder`.
        shape: `(height, width, channels)` that the images must have; None for the most
            frequent one.
        size: As in `image_folder`; so are all other arguments.
        fit: See `size`.
        color: See `size`.
        alpha: See `size`.
        test_share: See `size`.
        split_seed: See `size`.
        skip_broken: See `size`.
        classes: See `size`.

    Raises:
        DataError: See `image_folder`.
    """
    found = image_list.find_test(_place(directory), test_share, split_seed)
    found.order(classes)
    found.parts = {"test": found.parts["test"]}
    decoding = Decoding(size, fit, color, alpha)
    expected = _checked_files(found, decoding, shape, skip_broken=skip_broken)
    return _splits(found, expected, decoding)["test"]


def _place(directory: str | None) -> Path:
    place = Path(directory or "")
    is_table = place.is_file() and place.suffix.lower() == ".csv"
    if directory is None or not (place.is_dir() or is_table):
        raise DataError(
            "The data set 'image_folder' expects data.directory to be a folder with "
            "images in train/CLASS/ and test/CLASS/, or in CLASS/, or a CSV file. "
            f"Received: {directory!r}."
        )
    return place


def _checked_files(
    found: ImageList,
    decoding: Decoding,
    shape: Shape | None = None,
    *,
    skip_broken: bool,
) -> Shape:
    """Check the header of each file, and return the shape that all images have.

    Args:
        found: the files. Broken ones are left out of it, if asked.
        decoding: how they become images.
        shape: what is expected; None for the most frequent shape.
        skip_broken: whether to leave out files that cannot be read.

    Raises:
        DataError: Files are damaged, of another size, or in color among gray ones.
    """
    paths = [path for part in found.parts.values() for path in part.paths]
    reference = len(found.parts.get("train", Part(paths)).paths)
    heads = readings(paths, decoding.shape)
    if skip_broken:
        whole = readings(paths, lambda image: decoding.pixels(image).shape)
        _skip(found, paths, whole)
        kept = [i for i, each in enumerate(whole) if not isinstance(each, str)]
        reference = sum(i < reference for i in kept)
        paths, heads = [paths[i] for i in kept], [heads[i] for i in kept]
    known = [head for head in heads[:reference] if isinstance(head, tuple)]
    if shape is None and known:
        size, _ = Counter(known).most_common(1)[0]
        shape = size if known[0][2] == 1 else (*size[:2], 3)
        whose = "as most of them are"
    else:
        whose = "as the model expects"
    wrong = _misfits(paths, heads, shape)
    if not wrong and shape:
        return shape
    if len(paths) * math.prod(shape or ()) <= IN_MEMORY:
        # The error also names files that are damaged after their headers.
        heads = readings(paths, lambda image: decoding.pixels(image).shape)
        wrong = _misfits(paths, heads, shape)
    one = f"of {size_text(shape)}, {whose}" if shape else "that can be read"
    advice = "" if all(isinstance(head, str) for head in heads) else _advice(heads)
    raise DataError(
        f"Expected images {one}. {len(wrong)} of {len(paths)} files are not. "
        f"Resize, convert, replace or remove them{advice}:{lines_of(wrong)}"
    )


def _advice(heads: list[Shape | str]) -> str:
    """Return which options bring all images to one shape and leave out broken ones."""
    sizes = {head[:2] for head in heads if isinstance(head, tuple)}
    options = ["size = [HEIGHT, WIDTH]"] if len(sizes) > 1 else []
    if any(isinstance(head, str) for head in heads):
        options.append("skip_broken = true")
    return f", or set in [data.options] {' and '.join(options)}" if options else ""


def _skip(found: ImageList, paths: list[Path], readable: list[Shape | str]) -> None:
    """Leave the files out that cannot be read, and warn of them."""
    broken = {
        path: why
        for path, why in zip(paths, readable, strict=True)
        if isinstance(why, str)
    }
    if not broken:
        return
    lines = [f"{path}: {why}" for path, why in broken.items()]
    warnings.warn(
        f"Skipped {len(broken)} of {len(paths)} files, which cannot be read "
        f"(skip_broken):{lines_of(lines)}",
        stacklevel=4,
    )
    for name, part in found.parts.items():
        found.parts[name] = kept = part.without(set(broken))
        lost = set(part.labels.tolist()) - set(kept.labels.tolist())
        if lost:
            gone = [found.classes[label] for label in sorted(lost)]
            raise DataError(
                f"Expected images of each class that can be read. In {name}, all files "
                f"of {len(gone)} classes are broken. Replace them:{lines_of(gone)}"
            )


def _misfits(
    paths: list[Path], shapes: list[Shape | str], expected: Shape | None
) -> list[str]:
    """Return a line about each file that is damaged or has another shape."""
    return [
        f"{path}: {shape if isinstance(shape, str) else size_text(shape)}"
        for path, shape in zip(paths, shapes, strict=True)
        if isinstance(shape, str) or (expected and not fits(shape, expected))
    ]


def _splits(found: ImageList, shape: Shape, decoding: Decoding) -> dict[str, Split]:
    names = list(found.parts)
    images = _images([found.parts[name].paths for name in names], shape, decoding)
    return {
        name: Split(
            each,
            found.parts[name].labels,
            tuple(found.classes),
            tuple(map(found.relative, found.parts[name].paths)),
        )
        for name, each in zip(names, images, strict=True)
    }


def _images(splits: list[list[Path]], shape: Shape, decoding: Decoding) -> list[Images]:
    """Return the images of each split, after their headers have been checked.

    Raises:
        DataError: Files of a split that fits into memory cannot be decoded.
    """
    found: list[Images] = []
    damaged: list[str] = []
    for paths in splits:
        reader = ImageFiles(paths, shape, decoding)
        if math.prod(reader.shape) > IN_MEMORY:
            found.append(LazyImages(reader))
            continue
        images = np.empty(reader.shape, np.uint8)

        def decode(row: int, reader: ImageFiles = reader) -> np.ndarray | str:
            try:
                return reader.image(row)
            except DataError as error:
                return str(error)

        for row, image in enumerate(side_by_side(decode, range(len(paths)))):
            if isinstance(image, str):
                damaged.append(image)
            else:
                images[row] = image
        found.append(images)
    if damaged:
        raise DataError(
            f"Expected images that can be decoded. {len(damaged)} of "
            f"{sum(map(len, splits))} files cannot. Replace or remove them, or set "
            f"skip_broken = true in [data.options]:{lines_of(damaged)}"
        )
    return found


def _notes(found: ImageList, decoding: Decoding, shape: Shape) -> list[str]:
    """Return what is done to the images, and whether the classes are unbalanced."""
    notes = []
    if decoding.size is not None:
        paths = [path for part in found.parts.values() for path in part.paths]
        sizes = Counter(readings(paths, decoding.size_in_file))
        other = sum(count for size, count in sizes.items() if size != decoding.size)
        if other:
            how = {
                "crop": "scaled and cropped to the middle",
                "pad": "scaled, with black borders,",
                "stretch": "scaled without regard to their proportions",
            }[decoding.fit]
            notes.append(
                f"{other} of {len(paths)} images are {how} to {shape[0]} x {shape[1]} "
                "pixels"
            )
    counts = np.bincount(found.parts["train"].labels, minlength=len(found.classes))
    if counts.max() >= UNBALANCED * counts.min():
        most, fewest = int(counts.argmax()), int(counts.argmin())
        notes.append(
            f"the classes are unbalanced: {counts[most]} training images of "
            f"{found.classes[most]}, {counts[fewest]} of {found.classes[fewest]}; "
            'data.class_weights = "balanced" lets all classes count equally'
        )
    return notes
