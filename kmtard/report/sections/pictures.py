"""Clean and adversarial images, with their amplified difference."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from kmtard.registry import label
from kmtard.report.drawings import Gallery, Tile
from kmtard.report.section import Section
from kmtard.report.source import Bench, Measured, Setting, Source, command
from kmtard.runs.pictures import (
    amplification,
    attacked_images,
    difference,
    largest_change,
    read_pair,
)
from kmtard.runs.records import Results
from kmtard.runs.visible import visible

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

MOST = 8
"""Images per row."""


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
    images = attacked_images(results, attack, within=folder)
    pairs = ((image, pair) for image in images if (pair := read_pair(image)))
    found = list(islice(pairs, MOST))
    if not found:
        return None
    factor = amplification(max(largest_change(*pair) for _, pair in found))
    rows: list[list[Tile]] = [[], [], []]
    for image, (clean, attacked) in found:
        titles = [_title(image.label, answer) for answer in image.answers]
        rows[0].append(Tile(_pixels(clean), titles[0]))
        rows[1].append(Tile(_pixels(attacked), titles[1]))
        rows[2].append(Tile(_pixels(difference(clean, attacked, factor))))
    names = ("clean", "adversarial", f"difference × {factor}")
    caption = (
        f"{about}: images of {label(attack)}. Above each image: the prediction, with "
        "the label in parentheses if they differ. Gray in the last row means no change."
    )
    return Gallery(rows=list(zip(names, rows, strict=True)), caption=caption)


def _pixels(image: Image) -> np.ndarray:
    import numpy as np

    return np.asarray(image)


def _title(label: int | None, answer: int | None) -> str:
    if label is None or answer is None:
        return ""
    return str(answer) if answer == label else f"{answer} ({label})"
