"""What is found out about a model before it is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtard.data.image_folder import image_folder
from kmtard.hardening.examination import examine
from kmtard.runs.files import RunError
from tests.kmtard.hardening.conftest import make_model

pytestmark = pytest.mark.once("torch")


def test_a_model_is_explained(model_file: Path, photos: Path) -> None:
    found = examine(model_file, image_folder(str(photos)))
    assert found.accuracy == 1
    assert found.input_range == (0, 255)
    text = "\n".join(found.lines)
    assert "8 x 8, 3 channels, last; values from 0 to 255 (Rescaling" in text
    assert "from a softmax; 2 classes: bright, dark" in text
    assert "1 layers of dropout" in text and "100.0 % of 32 training images" in text


def test_another_order_of_the_classes_is_noticed(
    model_file: Path, photos: Path
) -> None:
    data = image_folder(str(photos), classes=("dark", "bright"))
    with pytest.raises(RunError, match="Give --classes bright,dark"):
        examine(model_file, data)


def test_a_model_that_guesses_is_refused(tmp_path: Path, photos: Path) -> None:
    path = tmp_path / "model.keras"
    make_model().save(path)
    with pytest.raises(RunError, match="--input-range LOW,HIGH"):
        examine(path, image_folder(str(photos)), input_range=(0, 1))


def test_other_classes_are_refused(model_file: Path, photos: Path) -> None:
    (photos / "dark").rename(photos / "night")
    extra = photos / "snow"
    extra.mkdir()
    for number in range(2):
        content = (photos / "bright" / "00.png").read_bytes()
        (extra / f"{number}.png").write_bytes(content)
    with pytest.raises(RunError, match="3 classes of the images.* with 2 outputs"):
        examine(model_file, image_folder(str(photos)))
