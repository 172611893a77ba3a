"""The case of an engineer: a small model of his own, and a folder of PNG files.

Images of geometric shapes in four classes, noisy and of any color, and a CNN that takes
them from 0 to 255 and returns probabilities. Run as a script, it makes both:

    KERAS_BACKEND=jax python tests/hardening/shapes.py FOLDER
    kmtard harden FOLDER/model.keras --data FOLDER/photos --epsilon 8/255 --hours 1/6

FOLDER/photos has `train/CLASS` and `test/CLASS`.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("circle", "cross", "square", "triangle")
SIDE = 16
TRAIN, TEST = 300, 125  # images per class
NOISE = 10.0
CONTRAST = 140  # of one channel at least
TURN = math.pi / 10  # at most


def draw(kind: str, random: np.random.RandomState, side: int = SIDE) -> np.ndarray:
    """Return one image, uint8 (side, side, 3)."""
    fine = 4 * side
    background, color = random.randint(0, 256, (2, 3))
    while np.abs(background - color).max() < CONTRAST:
        background, color = random.randint(0, 256, (2, 3))
    image = Image.new("RGB", (fine, fine), tuple(map(int, background)))
    radius = random.uniform(0.25, 0.42) * fine
    x, y = random.uniform(radius, fine - radius, 2)
    turn = random.uniform(-TURN, TURN) - math.pi / 2
    fill = tuple(map(int, color))
    pen = ImageDraw.Draw(image)

    def point(angle: float, distance: float) -> tuple[float, float]:
        angle += turn
        return x + distance * math.cos(angle), y + distance * math.sin(angle)

    if kind == "circle":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill)
    elif kind == "cross":
        for angle in (math.pi / 4, 3 * math.pi / 4):
            ends = (angle - 0.35, angle + 0.35)
            pen.polygon(
                [point(end + half, radius) for half in (0, math.pi) for end in ends],
                fill,
            )
    else:
        corners = 4 if kind == "square" else 3
        pen.polygon(
            [point(2 * math.pi * each / corners, radius) for each in range(corners)],
            fill,
        )
    small = np.asarray(image.resize((side, side), Image.Resampling.BOX), float)
    return np.clip(small + random.normal(0, NOISE, small.shape), 0, 255).astype("uint8")


def write(
    folder: Path,
    *,
    train: int = TRAIN,
    test: int = TEST,
    side: int = SIDE,
    seed: int = 0,
) -> Path:
    """Write the images into `folder`; return it."""
    random = np.random.RandomState(seed)
    for part, count in (("train", train), ("test", test)):
        for kind in CLASSES:
            place = folder / part / kind
            place.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                image = Image.fromarray(draw(kind, random, side))
                image.save(place / f"{number:04}.png")
    return folder


def read(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images of a part from 0 to 255, and their classes."""
    images, labels = [], []
    for label, kind in enumerate(CLASSES):
        for path in sorted((folder / part / kind).iterdir()):
            images.append(np.asarray(Image.open(path)))
            labels.append(label)
    return np.stack(images).astype("float32"), np.array(labels)


def engineers_model(side: int = SIDE, width: int = 16) -> Any:
    """Return the model: 0 to 255 in, softmax out."""
    import keras
    from keras import layers

    def convolution(filters: int) -> list[Any]:
        conv = layers.Conv2D(filters, 3, padding="same", use_bias=False)
        return [conv, layers.BatchNormalization(), layers.ReLU()]

    return keras.Sequential(
        [
            keras.Input((side, side, 3)),
            layers.RandomFlip("horizontal"),
            layers.Rescaling(1 / 255),
            *convolution(width),
            layers.MaxPooling2D(),
            *convolution(2 * width),
            layers.MaxPooling2D(),
            *convolution(4 * width),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(len(CLASSES), activation="softmax"),
        ]
    )


def train_model(folder: Path, path: Path, *, epochs: int = 30) -> float:
    """Train and save the engineer's model; return its accuracy on the test images."""
    import keras

    keras.utils.set_random_seed(0)
    x, y = read(folder, "train")
    model = engineers_model(x.shape[1])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)
    model.save(path)
    return float(model.evaluate(*read(folder, "test"), verbose=0)[1])


if __name__ == "__main__":
    place = Path(sys.argv[1])
    photos = write(place / "photos")
    accuracy = train_model(photos, place / "model.keras")
    sys.stdout.write(f"accuracy on the test images: {100 * accuracy:.1f} %\n")
