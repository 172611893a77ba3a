"""The saved images of an evaluation, read without NumPy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kmtard.runs.pictures import (
    amplification,
    attacked_images,
    difference,
    largest_change,
    read_pair,
)
from kmtard.runs.results import read_results
from tests.kmtard.runs.test_results import record, written

pytestmark = pytest.mark.once("torch")


def saved(folder: Path, column: str, index: int, *pixels: Any) -> Path:
    path = folder / "evaluation" / "images" / column / f"{index:06d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = "L" if isinstance(pixels[0], int) else "RGB"
    image = Image.new(mode, (len(pixels), 1))
    for x, pixel in enumerate(pixels):
        image.putpixel((x, 0), pixel)
    image.save(path)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Four images, of which 0, 1 and 3 are saved, and 0 and 1 were attacked."""
    content = record()
    student = content["networks"][-1]
    content["pictures"]["indices"] = [0, 1, 3]
    # Image 1 is right clean and wrong under the attack; image 3 is wrong clean.
    student["attacks"]["pgd_trades"]["predictions"] = "0 0 1 0"
    student["attacks"]["pgd_trades"]["confidences"] = {"0": 0.75, "1": 0.5}
    student["clean"]["confidences"] = {"0": 1.0}
    written(tmp_path, content)
    for index in (0, 1, 3):
        saved(tmp_path, "clean", index, 10, 200)
    for index in (0, 1):
        saved(tmp_path, "pgd_trades", index, 18, 196)
    return tmp_path


def test_images_with_their_answers(run: Path) -> None:
    first, second = attacked_images(read_results(run), "pgd_trades", run)
    assert (first.index, first.label, first.answers) == (0, 0, (0, 0))
    assert first.confidences == (1.0, 0.75)
    assert not first.is_broken
    assert (second.index, second.label, second.answers) == (1, 1, (1, 0))
    assert second.confidences == (None, 0.5)
    assert second.is_broken


def test_nothing_was_saved(run: Path) -> None:
    results = read_results(run)
    assert attacked_images(results, "fgsm", run) == []
    assert attacked_images(results, "square", run) == []
    content = record()
    content["pictures"] = None
    written(run, content)
    assert attacked_images(read_results(run), "pgd_trades", run) == []


def test_an_old_record_has_no_predictions(run: Path) -> None:
    content = json.loads((run / "evaluation.json").read_text())
    for score in (
        content["networks"][-1]["clean"],
        content["networks"][-1]["attacks"]["pgd_trades"],
    ):
        score.pop("confidences", None)
        score["predictions"] = None
    content["labels"] = ""
    written(run, content)
    found = attacked_images(read_results(run), "pgd_trades", run)
    assert [(each.label, each.answers) for each in found] == [(None, (None, None))] * 2
    assert not any(each.is_broken for each in found)


def test_images_outside_the_run_are_not_read(run: Path, tmp_path: Path) -> None:
    results = read_results(run)
    assert attacked_images(results, "pgd_trades", run / "other") == []
    images = run / "evaluation" / "images"
    images.rename(tmp_path / "elsewhere")
    images.symlink_to(tmp_path / "elsewhere")
    assert len(attacked_images(results, "pgd_trades", run)) == 2
    assert attacked_images(results, "pgd_trades", run / "evaluation") == []


def test_the_difference_is_around_gray(run: Path) -> None:
    image = attacked_images(read_results(run), "pgd_trades", run)[0]
    pair = read_pair(image)
    assert pair is not None
    assert largest_change(*pair) == 8
    shown = difference(*pair, amplification(8))
    assert [shown.getpixel((x, 0)) for x in (0, 1)] == [128 + 120, 128 - 60]
    assert difference(*pair, 100).getpixel((0, 0)) == 255, "clipped"
    assert difference(*pair, 100).getpixel((1, 0)) == 0, "clipped"


def test_channels_are_apart(run: Path) -> None:
    saved(run, "clean", 0, (10, 50, 200))
    saved(run, "pgd_trades", 0, (12, 50, 190))
    pair = read_pair(attacked_images(read_results(run), "pgd_trades", run)[0])
    assert pair is not None
    assert largest_change(*pair) == 10
    assert difference(*pair, 12).getpixel((0, 0)) == (152, 128, 8)


@pytest.mark.parametrize("damage", ["text", "shape", "gone"])
def test_a_damaged_pair_is_none(run: Path, damage: str) -> None:
    image = attacked_images(read_results(run), "pgd_trades", run)[0]
    if damage == "text":
        image.paths[1].write_text("\x89PNG no image")
    elif damage == "shape":
        saved(run, "pgd_trades", 0, 1, 2, 3)
    else:
        image.paths[1].unlink()
    assert read_pair(image) is None
