"""The written model has the given model's signature and the student's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kmtard.hardening.files import Pair
from kmtard.runs.files import RunError
from tests.kmtard.networks.own_models import MODELS, SHAPE, SubclassedPhotos

pytestmark = pytest.mark.once("torch")


def images() -> np.ndarray:
    pixels = np.random.RandomState(0).randint(0, 256, (16, *SHAPE))
    return (pixels / 255).astype("float32")


@pytest.mark.parametrize("name", MODELS)
def test_the_signature_stays(name: str, tmp_path: Path) -> None:
    make, input_range, _ = MODELS[name]
    path, target = tmp_path / "model.keras", tmp_path / "hardened.keras"
    given = make()
    given.save(path)
    pair = Pair(path, SHAPE, input_range or (0.0, 1.0))
    ends = [each + 0.1 if each.dtype == "float32" else each for each in pair.start]
    pair.mix(ends, 0.5)
    pair.write(target, images())
    written = keras.models.load_model(target, compile=False)
    assert type(written) is type(given)
    if not isinstance(given, SubclassedPhotos):
        assert written.input_shape == given.input_shape
        assert written.output_shape == given.output_shape
        assert [each.name for each in written.layers] == [
            each.name for each in given.layers
        ]
    for before, after in zip(given.weights, written.weights, strict=True):
        assert before.dtype == after.dtype
        if "seed" not in before.path:
            change = np.asarray(after, "float32") - np.asarray(before, "float32")
            np.testing.assert_allclose(change, 0.05, atol=2e-3)


def test_a_compiled_model_stays_compiled(tmp_path: Path) -> None:
    path, target = tmp_path / "model.keras", tmp_path / "hardened.keras"
    model = MODELS["engineers"][0]()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(255 * images(), np.arange(16) % 4, verbose=0)
    model.save(path)
    Pair(path, SHAPE, (0.0, 255.0)).write(target, images())
    written: Any = keras.models.load_model(target)
    assert len(written.evaluate(255 * images(), np.arange(16) % 4, verbose=0)) == 2


def test_a_student_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    MODELS["engineers"][0]().save(path)
    pair = Pair(path, SHAPE, (0.0, 255.0))
    with pytest.raises(RunError, match="Was the file replaced"):
        pair.become(MODELS["plain"][0]())
