"""Decode image files to arrays of one shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from kmtard.data.batches import THREADS
from kmtard.data.errors import DataError
from kmtard.registry.bounded import open_regular

Shape = tuple[int, ...]
Fit = Literal["crop", "pad", "stretch"]
Color = Literal["auto", "grey", "color"]
Alpha = Literal["ignore", "white", "black"]

# The exceptions that Pillow raises for damaged files.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "F"})
# In a PNG file, the orientation may stand behind the pixels.
_ORIENTED = frozenset({"JPEG", "MPO", "WEBP"})
_ORIENTATION = 0x0112
_FILL = {"white": 255, "black": 0}
# JPEG files that are larger than needed by this factor are decoded at reduced size.
_MUCH_LARGER = 2


@dataclass(frozen=True)
class Decoding:
    """How files become images.

    Attributes:
        size: `(height, width)` that images are brought to; None leaves them as they
            are.
        fit: how: "crop" scales the shorter side and cuts off what is outside of the
            middle, "pad" scales the longer side and adds black borders, "stretch"
            scales both sides, whatever the shape.
        color: "grey" or "color" converts all images; "auto" leaves them as they are.
        alpha: what shows through transparent pixels; "ignore" takes the colors that the
            file has there.
    """

    size: tuple[int, int] | None = None
    fit: Fit = "crop"
    color: Color = "auto"
    alpha: Alpha = "ignore"

    def shape(self, image: Image.Image) -> Shape:
        """Return the shape that an image will have, from its header alone."""
        height, width = self.size or _upright_size(image)
        return height, width, 1 if self._is_grey(image) else 3

    def size_in_file(self, image: Image.Image) -> tuple[int, int]:
        """Return the height and width of an image in its file, from its header."""
        return _upright_size(image)

    def pixels(self, image: Image.Image) -> np.ndarray:
        """Return an image as uint8 `(height, width, channels)`."""
        if self.size is not None:
            self._draft(image, self.size)
        grey = self._is_grey(image)
        image = self._flat(_upright(image)).convert("L" if grey else "RGB")
        if self.size is not None:
            image = self._fitted(image, self.size)
        return np.asarray(image).reshape(image.height, image.width, 1 if grey else 3)

    def _is_grey(self, image: Image.Image) -> bool:
        if self.color == "auto":
            return image.mode in _GREY_MODES
        return self.color == "grey"

    def _flat(self, image: Image.Image) -> Image.Image:
        if image.mode.startswith("I"):
            # Pillow would clip 16-bit values to 255 instead of scaling them.
            return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if self.alpha == "ignore" or not image.has_transparency_data:
            return image  # as in TensorFlow
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (_FILL[self.alpha],) * 3 + (255,))
        return Image.alpha_composite(ground, image)

    def _fitted(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        height, width = size
        if (image.height, image.width) == size:
            return image
        smooth = Image.Resampling.BILINEAR
        if self.fit == "stretch":
            return image.resize((width, height), smooth)
        fit = ImageOps.fit if self.fit == "crop" else ImageOps.pad
        return fit(image, (width, height), smooth)

    def _draft(self, image: Image.Image, size: tuple[int, int]) -> None:
        """Decode a large JPEG file at half, a quarter or an eighth of its size."""
        wanted = _MUCH_LARGER * max(size)
        if image.format == "JPEG" and min(image.size) >= 2 * wanted:
            image.draft(None, (wanted, wanted))


def _upright_size(image: Image.Image) -> tuple[int, int]:
    if _orientation(image) >= 5:  # turned by 90 degrees
        return image.width, image.height
    return image.height, image.width


def _orientation(image: Image.Image) -> int:
    if image.format not in _ORIENTED:
        return 1
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged metadata, of which Pillow raises anything
        return 1
    return found if isinstance(found, int) else 1


def _upright(image: Image.Image) -> Image.Image:
    """Return a photo as its camera was held."""
    if _orientation(image) in range(2, 9):
        return ImageOps.exif_transpose(image) or image
    return image


class ImageFiles:
    """A `Reader` of image files that all have one shape.

    Args:
        paths: At least one file.
        shape: `(height, width, channels)` of every image.
        decoding: How the files become images.
    """

    def __init__(
        self, paths: list[Path], shape: Shape, decoding: Decoding | None = None
    ) -> None:
        self._paths = paths
        self._decoding = decoding or Decoding()
        self.shape = (len(paths), *shape)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the images of some files; see `Reader`.

        Raises:
            DataError: See `image`.
        """
        return np.stack([self.image(row) for row in rows.tolist()])

    def image(self, row: int) -> np.ndarray:
        """Return one image, uint8 `(height, width, channels)`.

        Raises:
            DataError: It is damaged, has another size than expected, or is in color
                although the images are gray.
        """
        path, expected = self._paths[row], self.shape[1:]
        image = opened(path, self._decoding.pixels)
        if not fits(image.shape, expected):
            raise DataError(
                f"{path}: {size_text(image.shape)}, not {size_text(expected)}. "
                "Was it changed?"
            )
        return np.broadcast_to(image, expected)


def fits(shape: Shape, expected: Shape) -> bool:
    """Return whether an image has the expected shape, or is gray instead of color."""
    return shape in (expected, (*expected[:2], 1))


def size_text(shape: Shape) -> str:
    """Return a shape `(height, width, channels)` in words."""
    height, width, channels = shape
    color = {1: "grey", 3: "color"}.get(channels, f"{channels} channels")
    return f"{height} x {width} pixels, {color}"


def readings(paths: list[Path], read: Callable[[Image.Image], Any]) -> list[Any]:
    """Return what each file tells, or as a text why it cannot be read."""

    def reading(path: Path) -> Any:
        try:
            return opened(path, read)
        except DataError as error:
            return str(error).partition(": ")[2]

    return list(side_by_side(reading, paths))


def side_by_side(function: Callable[[Any], Any], items: Iterable) -> Iterator[Any]:
    """Yield the results of a function, which several threads call."""
    with ThreadPoolExecutor(THREADS, "kmtard-files") as threads:
        yield from threads.map(function, items)


def opened(path: Path, read: Callable[[Image.Image], Any]) -> Any:
    """Return what a function reads from an opened image.

    Raises:
        DataError: The file cannot be opened, is no image or damaged.
    """
    try:
        # Opening a pipe would block.
        with open_regular(path) as file, Image.open(file) as image:
            return read(image)
    except _DAMAGE as error:
        # Pillow repeats the name of a file that it cannot identify.
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "not an image, or damaged" if unknown else error
        raise DataError(f"{path}: {reason}") from error
