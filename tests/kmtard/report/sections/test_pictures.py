from __future__ import annotations

import os

import pytest
from PIL import Image

from kmtard.report.drawings import Gallery
from kmtard.report.sections.pictures import pictures
from kmtard.report.source import read
from kmtard.runs.pictures import LARGEST_SIDE
from tests.kmtard.report.conftest import Reported

pytestmark = pytest.mark.once("jax")


def test_the_difference_is_amplified_around_gray(reported: Reported) -> None:
    run = reported()
    [gallery] = pictures(read([run.path])).blocks
    assert isinstance(gallery, Gallery)
    (_, clean), (_, attacked), (name, difference) = gallery.rows
    assert len(clean) == len(attacked) == len(difference) == 2
    # The largest change is 8 levels, and 15 times that is within 127.
    assert name == "difference × 15"
    assert difference[0].pixels[0, 0].tolist() == [128 + 120, 128, 128 - 120]
    assert attacked[0].pixels[0, 0].tolist() == [108, 50, 192]
    student = read([run.path]).runs[0].student
    assert student is not None
    answer = student.attacks["pgd_trades"].predictions[3]
    assert attacked[1].title == ("3" if answer == 3 else f"{answer} (3)")


def test_images_outside_the_run_are_not_shown(reported: Reported) -> None:
    run, other = reported(), reported("mtard")
    text = run.evaluation_path.read_text()
    folder = other.path / "evaluation" / "images"
    run.evaluation_path.write_text(text.replace("evaluation/images", str(folder)))
    assert not pictures(read([run.path])).blocks
    run.evaluation_path.write_text(text)
    images = run.path / "evaluation" / "images"
    images.rename(run.path.parent / "moved")
    images.symlink_to(run.path.parent / "moved")
    assert not pictures(read([run.path])).blocks


@pytest.mark.parametrize("damage", ["large", "text", "shape", "gone", "pipe"])
def test_only_small_png_files_are_shown(reported: Reported, damage: str) -> None:
    run = reported()
    folder = run.path / "evaluation" / "images"
    for path in (folder / "pgd_trades").iterdir():
        if damage == "large":
            Image.new("L", (LARGEST_SIDE + 1, 1)).save(path)
        elif damage == "text":
            path.write_text("\x89PNG no image")
        elif damage == "shape":
            Image.new("RGB", (2, 2)).save(path)
        else:
            path.unlink()
            if damage == "pipe":
                os.mkfifo(path)
    section = pictures(read([run.path]))
    assert not section.blocks
    assert f"`kmtard evaluate {run.path}` saves some" in section.missing[0]
