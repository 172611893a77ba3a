"""Dark and bright images, and a model that tells them apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SIDE = 8
NAMES = ("bright", "dark")


def write_images(root: Path, count: int = 20, side: int = SIDE) -> Path:
    """Images of two brightnesses with noise, in one folder per class."""
    random = np.random.RandomState(0)
    for name, level in zip(NAMES, (170, 80), strict=True):
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = level + random.randint(-40, 40, (side, side, 3))
            image = Image.fromarray(pixels.astype("uint8"))
            image.save(root / name / f"{number:02}.png")
    return root


def make_model(scale: float = 1 / 255, ending: str | None = "softmax") -> Any:
    """A model with dropout that is right by construction; no training is needed."""
    import keras
    from keras import layers

    head = layers.Dense(2, activation=ending)
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            layers.Rescaling(scale),
            layers.Conv2D(4, 3, activation="relu", data_format="channels_last"),
            layers.Dropout(0.1, seed=0),
            layers.GlobalAveragePooling2D(data_format="channels_last"),
            head,
        ]
    )
    kernel, _ = model.layers[1].get_weights()
    model.layers[1].set_weights([np.full_like(kernel, 1 / 27), np.zeros(4)])
    row = np.array([[2.0, -2.0]] * 4, "float32")
    head.set_weights([row, np.array([-4.0, 4.0])])  # the threshold is 0.5
    return model


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_images(tmp_path / "photos")


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.keras"
    make_model().save(path)
    return path
