"""What the layers of a model show."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from kmtard.networks.interface import interface_of, measured_range
from tests.kmtard.networks.own_models import MODELS, SHAPE

pytestmark = pytest.mark.once("torch")


@pytest.mark.parametrize("name", MODELS)
def test_range_shape_and_ending(name: str) -> None:
    make, input_range, ending = MODELS[name]
    found = interface_of(make())
    assert (found.input_range, found.ending) == (input_range, ending)
    assert found.shape == SHAPE
    assert found.channels_first == (name == "channels_first")
    assert bool(found.evidence) == (input_range is not None)


def test_what_is_inside() -> None:
    found = interface_of(MODELS["engineers"][0]())
    assert found.dropout == 1
    assert found.augmentation == ("RandomFlip", "RandomTranslation")
    assert found.mirrors
    assert found.normalization == ("BatchNormalization",)
    assert (found.units, found.precision) == (4, "float32")
    assert interface_of(MODELS["transformer"][0]()).normalization == (
        "LayerNormalization",
    )
    assert interface_of(MODELS["half"][0]()).precision == "float16"


def normalization(mean: float, variance: float) -> keras.layers.Layer:
    return keras.layers.Normalization(mean=[mean] * 3, variance=[variance] * 3)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (lambda: keras.layers.Rescaling(1 / 127.5, -1), (0, 255)),
        (lambda: keras.layers.Rescaling(2, -1), (0, 1)),
        (lambda: keras.layers.Rescaling([[[4.0, 4.1, 3.9]]], [[[-2.0] * 3]]), (0, 1)),
        (lambda: keras.layers.Rescaling(0.5, 0.5), (-1, 1)),
        (lambda: normalization(0.48, 0.06), (0, 1)),
        (lambda: normalization(120.0, 4000.0), (0, 255)),
        (lambda: normalization(-0.05, 0.25), (-1, 1)),
    ],
)
def test_scaling_layers(layer: Any, expected: tuple[float, float]) -> None:
    model = keras.Sequential(
        [keras.Input(SHAPE), layer(), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    assert interface_of(model).input_range == expected


def test_a_scaling_layer_behind_weights_says_nothing_of_the_images() -> None:
    layers = [keras.layers.Conv2D(2, 3), keras.layers.Rescaling(1 / 255)]
    model = keras.Sequential([keras.Input(SHAPE), *layers])
    assert interface_of(model).input_range is None


@pytest.mark.parametrize("scale", [(0, 1), (0, 255), (-1, 1)])
def test_the_range_is_measured_if_no_layer_shows_it(scale: tuple[int, int]) -> None:
    """A model that tells a dark half from a bright one, at a threshold of its range."""
    low, high = scale
    threshold = low + 0.3 * (high - low)
    inputs = keras.Input((4, 4, 1))
    mean = keras.layers.GlobalAveragePooling2D(data_format="channels_last")(inputs)
    head = keras.layers.Dense(2)
    model = keras.Model(inputs, head(mean))
    head.set_weights([np.array([[-1.0, 1.0]]), np.array([threshold, -threshold])])
    rows = np.random.RandomState(0).permutation(200)
    levels = np.linspace(0, 255, 200)[rows].astype("uint8")
    images = np.broadcast_to(levels[:, None, None, None], (200, 4, 4, 1))
    labels = (levels > 0.3 * 255).astype(int)
    assert measured_range(model, images, labels) == scale
    noise = np.random.RandomState(0).randint(0, 2, 200)
    assert measured_range(model, images, noise) is None
