"""Clean and adversarial images, with their amplified difference."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from kmtard.registry import label
from kmtard.report.drawings import Gallery, Tile
from kmtard.report.section import Section
from kmtard.report.source import CLEAN, Bench, Measured, Setting, Source, command
from kmtard.runs.files import read_regular
from kmtard.runs.records import Pictures, Results, Score
from kmtard.runs.visible import visible

if TYPE_CHECKING:
    import numpy as np

MOST = 8
"""Images per row."""

LARGEST_FILE = 4 * 2**20  # bytes
LARGEST_SIDE = 512  # pixels
ABOVE = 127  # gray levels above and below the middle


def pictures(source: Source) -> Section:
    """Return a grid of images for each row: clean, adversarial, and the difference."""
    galleries, missing = [], []
    for bench, setting in source.settings:
        if setting.headline is None or setting not in bench.evaluated:
            continue
        gallery = next(
            filter(None, (_gallery(bench, setting, r) for r in setting.members)), None
        )
        if gallery:
            galleries.append(gallery)
        else:
            path = str(setting.members[0].run.path)
            missing.append(
                f"{bench.title}, {setting.label}: no images were saved. "
                f"`{command('evaluate', path)}` saves some."
            )
    return Section("images", "Adversarial images", galleries, missing)


def _gallery(bench: Bench, setting: Setting, run: Measured) -> Gallery | None:
    if run.results is None:
        return None
    about = f"{bench.title}, {setting.label}, seed {visible(run.seed)}"
    return gallery(run.results, setting.headline or "", run.run.path, about)


def gallery(results: Results, attack: str, folder: Path, about: str) -> Gallery | None:
    """Return images of the student under an attack; None if none were saved.

    Args:
        results: the record.
        attack: name of the attack.
        folder: folder of the run, or of the model's evaluations. The record names the
            folder of its images, which must be inside.
        about: beginning of the caption.
    """
    network = results.student
    if results.pictures is None or attack not in network.attacks:
        return None
    if not _lies_within(results.pictures.folder, folder):
        return None
    found = _pairs(results.pictures, attack)
    if not found:
        return None
    largest = max(float(abs(theirs - ours).max()) for _, ours, theirs in found) or 1.0
    factor = max(1, int(ABOVE / largest))
    score = network.attacks[attack]
    rows: list[list[Tile]] = [[], [], []]
    for index, clean, attacked in found:
        difference = (attacked - clean) * factor + ABOVE + 1
        rows[0].append(Tile(_pixels(clean), _title(results, network.clean, index)))
        rows[1].append(Tile(_pixels(attacked), _title(results, score, index)))
        rows[2].append(Tile(_pixels(difference)))
    names = ("clean", "adversarial", f"difference × {factor}")
    caption = (
        f"{about}: images of {label(attack)}. Above each image: the prediction, with "
        "the label in parentheses if they differ. Gray in the last row means no change."
    )
    return Gallery(rows=list(zip(names, rows, strict=True)), caption=caption)


def _pairs(pictures: Pictures, attack: str) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Return index, clean and adversarial pixels of the first images that have both."""
    found = []
    for index in pictures.indices:
        pair = [pictures.path(column, index) for column in (CLEAN, attack)]
        images = [_read(path) for path in pair if path]
        if len(images) == 2 and images[0] is not None and images[1] is not None:
            if images[0].shape == images[1].shape:
                found.append((index, images[0], images[1]))
        if len(found) == MOST:
            break
    return found


def _lies_within(folder: Path, path: Path) -> bool:
    try:
        return folder.resolve().is_relative_to(path.resolve())
    # Links can form a loop.
    except (OSError, RuntimeError):
        return False


def _read(path: Path) -> np.ndarray | None:
    """Return the pixels of a PNG in 0 .. 255, signed; None if it is not one."""
    import numpy as np
    from PIL import Image

    try:
        with Image.open(
            io.BytesIO(read_regular(path, limit=LARGEST_FILE)), formats=["PNG"]
        ) as image:
            # The size is known before the image is decompressed.
            if max(image.size) > LARGEST_SIDE:
                return None
            mode = "L" if image.mode in ("L", "1", "LA") else "RGB"
            return np.asarray(image.convert(mode)).astype("int16")
    # Pillow raises any of these for a damaged file.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _pixels(image: np.ndarray) -> np.ndarray:
    return image.clip(0, 255).astype("uint8")


def _title(results: Results, score: Score, index: int) -> str:
    labels, predictions = results.labels, score.predictions
    if index >= len(predictions) or index >= len(labels):
        return ""
    answer, wanted = predictions[index], labels[index]
    return str(answer) if answer == wanted else f"{answer} ({wanted})"
