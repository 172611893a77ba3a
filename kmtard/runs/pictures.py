"""The saved images of an evaluation: clean, adversarial, and their difference.

`kmtard.evaluation` writes them as PNG. Reports and the launcher read them here, with
Pillow and without NumPy.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kmtard.runs.files import read_regular
from kmtard.runs.records import CLEAN, Results, Score

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST_FILE = 4 * 2**20  # bytes
LARGEST_SIDE = 512  # pixels
MANY = 1000  # images; more are not written, but a foreign record could name them
MIDDLE = 128
"""Gray level of a difference where nothing changed."""


@dataclass(frozen=True)
class AttackedImage:
    """An image of which the clean and the adversarial version are saved.

    Attributes:
        index: its position among the evaluated images.
        label: its class; None if unknown.
        answers: the classes predicted for the clean and for the adversarial version;
            None if unknown.
        confidences: the probabilities of these predictions, in [0, 1]; None if unknown.
        paths: the files of the clean and of the adversarial version.
    """

    index: int
    label: int | None
    answers: tuple[int | None, int | None]
    confidences: tuple[float | None, float | None]
    paths: tuple[Path, Path]

    @property
    def is_broken(self) -> bool:
        """Whether the attack changed a correct prediction to a wrong one."""
        clean, attacked = self.answers
        return None not in (clean, attacked) and attacked != clean == self.label


def attacked_images(results: Results, attack: str, within: Path) -> list[AttackedImage]:
    """Return the images that are saved both clean and under an attack.

    Args:
        results: a record, whose student was attacked.
        attack: name of the attack.
        within: folder of the run. A record names the folder of its images, and a
            foreign record could name any folder; images elsewhere are not returned.

    Returns:
        The images in ascending order; empty if none was saved.
    """
    pictures, scores = results.pictures, results.student.columns
    if pictures is None or attack not in scores:
        return []
    if not _lies_within(pictures.folder, within):
        return []
    clean, attacked = scores[CLEAN], scores[attack]
    found = []
    for index in pictures.indices[:MANY]:
        paths = pictures.path(CLEAN, index), pictures.path(attack, index)
        if paths[0] is not None and paths[1] is not None:
            known = index < len(results.labels)
            found.append(
                AttackedImage(
                    index=index,
                    label=results.labels[index] if known else None,
                    answers=(_answer(clean, index), _answer(attacked, index)),
                    confidences=(
                        clean.confidences.get(index),
                        attacked.confidences.get(index),
                    ),
                    paths=(paths[0], paths[1]),
                )
            )
    return found


def read_pair(image: AttackedImage) -> tuple[Image, Image] | None:
    """Return the clean and the adversarial version of an image.

    Returns:
        Two images of equal size in the modes "L" or "RGB"; None if a file is missing,
        is damaged, or is too large.
    """
    clean, attacked = map(_read, image.paths)
    if clean is None or attacked is None:
        return None
    same = (clean.size, clean.mode) == (attacked.size, attacked.mode)
    return (clean, attacked) if same else None


def largest_change(clean: Image, attacked: Image) -> int:
    """Return the largest change of a channel of a pixel, in 0 .. 255."""
    from PIL import ImageChops

    return max(ImageChops.difference(clean, attacked).tobytes())


def amplification(largest: int) -> int:
    """Return the factor by which differences are shown, so that none is clipped.

    Args:
        largest: largest change of a pixel, in 0 .. 255.

    Example:
        >>> amplification(8), amplification(0), amplification(200)
        (15, 127, 1)
    """
    return max(1, (MIDDLE - 1) // max(1, largest))


def difference(clean: Image, attacked: Image, factor: int) -> Image:
    """Return the amplified difference around gray, which means no change.

    Args:
        clean: in the mode "L" or "RGB".
        attacked: of the same mode and size.
        factor: of the amplification.
    """
    from PIL import Image, ImageChops

    def times(image: Image.Image) -> Image.Image:
        return image.point(lambda level: min(255, level * factor))

    gray = Image.new(clean.mode, clean.size, (MIDDLE,) * len(clean.getbands()))
    # One of both is 0 in each channel of each pixel, as subtract clips at 0.
    above = times(ImageChops.subtract(attacked, clean))
    below = times(ImageChops.subtract(clean, attacked))
    return ImageChops.add(ImageChops.subtract(gray, below), above)


def _answer(score: Score, index: int) -> int | None:
    return score.predictions[index] if index < len(score.predictions) else None


def _lies_within(folder: Path, path: Path) -> bool:
    try:
        return folder.resolve().is_relative_to(path.resolve())
    # Links can form a loop.
    except (OSError, RuntimeError):
        return False


def _read(path: Path) -> Image | None:
    """Return a PNG as gray or RGB; None if it is not one, or is too large."""
    from PIL import Image

    try:
        content = io.BytesIO(read_regular(path, limit=LARGEST_FILE))
        with Image.open(content, formats=["PNG"]) as image:
            # The size is known before the image is decompressed.
            if max(image.size) > LARGEST_SIDE:
                return None
            return image.convert("L" if image.mode in ("L", "1", "LA") else "RGB")
    # Pillow raises any of these for a damaged file.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
