"""Any classifier as a network from images in [0, 1] to logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kmtard.networks.freezing import freeze
from kmtard.networks.interface import UNIT
from kmtard.networks.own_model import (
    adapted,
    load,
    origin_of,
    own_model,
    with_momentum,
)
from tests.kmtard.networks.own_models import CLASSES, MODELS, SHAPE


def images(count: int = 6) -> np.ndarray:
    """Images in [0, 1] that are whole numbers in [0, 255]."""
    pixels = np.random.RandomState(0).randint(0, 256, (count, *SHAPE))
    return (pixels / 255).astype("float32")


@pytest.mark.parametrize("name", MODELS)
def test_the_network_answers_as_the_model(name: str, tmp_path: Path) -> None:
    """Also after it was saved and loaded, and on the model's own weights."""
    make, input_range, _ = MODELS[name]
    path = tmp_path / "model.keras"
    make().save(path)
    model = load(path)
    network = adapted(model, input_shape=SHAPE)
    low, high = input_range or UNIT
    x = images()
    given = np.round(x * 255) if input_range else x * (high - low) + low
    if name == "channels_first":
        given = given.transpose(0, 3, 1, 2)
    expected = ops.convert_to_numpy(ops.cast(model(given, training=False), "float32"))
    if expected.shape[1] == 1:
        expected = np.concatenate([1 - expected, expected], axis=1)
    logits = ops.convert_to_numpy(network(x, training=False))
    found = ops.convert_to_numpy(ops.softmax(logits))
    if name in ("transformer", "plain"):
        found = logits
    np.testing.assert_allclose(found, expected, atol=3e-3 if name == "half" else 1e-5)
    assert logits.dtype == np.float32
    assert {id(w) for w in network.weights} >= {id(w) for w in model.trainable_weights}
    network.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_allclose(
        ops.convert_to_numpy(again(x, training=False)), logits, atol=1e-5
    )


def nested() -> keras.Model:
    """Augmentation in a model of its own, as Keras's guides show it."""
    moves = [keras.layers.RandomRotation(0.1), keras.layers.RandomFlip()]
    inputs = keras.Input(SHAPE)
    x = keras.Sequential(moves, name="moves")(inputs)
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(x))


def piped() -> keras.Model:
    """Augmentation in a pipeline, which is a layer and not a model."""
    moves = [keras.layers.RandomRotation(0.1), keras.layers.RandomFlip()]
    inputs = keras.Input(SHAPE)
    x = keras.layers.RandomTranslation(0.1, 0.1)(inputs, training=None)
    x = keras.layers.Flatten()(keras.layers.Pipeline(moves)(x))
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(x))


def test_a_pipeline_that_does_more_stays_and_is_told() -> None:
    parts = [keras.layers.RandomFlip(), keras.layers.Rescaling(1 / 255)]
    inputs = keras.Input(SHAPE)
    x = keras.layers.RandomRotation(0.1)(inputs)
    x = keras.layers.Flatten()(keras.layers.Pipeline(parts)(x))
    model = keras.Model(inputs, keras.layers.Dense(CLASSES)(x))
    notes = "; ".join(origin_of(adapted(model, input_shape=SHAPE)).notes)
    assert "its RandomRotation is left out in training" in notes
    assert "its RandomFlip cannot be left out" in notes


@pytest.mark.parametrize("make", [MODELS["engineers"][0], nested, piped])
def test_training_sees_the_images_that_were_attacked(make: Callable[[], Any]) -> None:
    model = make()
    network = adapted(model, input_shape=SHAPE)
    for layer in network._flatten_layers():
        if isinstance(layer, (keras.layers.Dropout, keras.layers.BatchNormalization)):
            layer.trainable = False
            layer.rate = 0.0
    x = images()
    still, trained = (
        ops.convert_to_numpy(network(x, training=mode)) for mode in (False, True)
    )
    np.testing.assert_allclose(still, trained, atol=1e-5)
    assert "is left out in training" in "; ".join(origin_of(network).notes)
    moved, unmoved = (
        ops.convert_to_numpy(model(x * 255, training=mode)) for mode in (True, False)
    )
    assert not np.allclose(moved, unmoved, atol=1e-3)


def test_a_subclassed_model_keeps_its_augmentation_and_says_so() -> None:
    @keras.saving.register_keras_serializable("kmtard_tests")
    class MovingPhotos(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.flip = keras.layers.RandomFlip("horizontal")
            self.head = keras.layers.Dense(CLASSES)

        def call(self, x: Any, training: bool = False) -> Any:
            x = self.flip(x, training=training)
            return self.head(ops.mean(x, axis=(1, 2)))

    model = MovingPhotos()
    model(images())
    network = adapted(model, input_shape=SHAPE)
    assert "RandomFlip cannot be left out" in "; ".join(origin_of(network).notes)


def test_batch_normalization_can_follow_faster(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    MODELS["engineers"][0]().save(path)

    def momentum(network: Any) -> float:
        kind = keras.layers.BatchNormalization
        [layer] = [n for n in network._flatten_layers() if isinstance(n, kind)]
        return layer.momentum

    assert momentum(own_model(CLASSES, SHAPE, str(path))) == 0.99
    assert momentum(own_model(CLASSES, SHAPE, str(path), momentum=0.5)) == 0.5
    with pytest.raises(ValueError, match="`momentum` must be a number >= 0, <= 1"):
        with_momentum(load(path), 2.0)


def test_the_notes_say_what_is_around_the_model() -> None:
    def notes(name: str) -> str:
        network = adapted(MODELS[name][0](), input_shape=SHAPE)
        return "; ".join(origin_of(network).notes)

    assert "from [0, 1] to [0, 255] (Rescaling" in notes("engineers")
    assert "final softmax is left out" in notes("subclassed")
    assert "channels are moved to the front" in notes("channels_first")
    assert "[0, z]" in notes("one_output")
    model = MODELS["plain"][0]()
    assert adapted(model, input_shape=SHAPE) is model
    assert origin_of(model).model is model


def test_weights_of_16_bits_become_trainable(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    MODELS["half"][0]().save(path)
    model = load(path)
    assert {str(each.dtype) for each in model.trainable_weights} == {"float32"}
    assert model.layers[-1].dtype_policy.name == "mixed_float16"


def test_gradients_reach_the_images_of_a_model_of_integers() -> None:
    """Rounding would make the output constant around an image."""
    network = adapted(MODELS["of_integers"][0](), input_shape=SHAPE)
    x = images(1)
    before, after = (
        ops.convert_to_numpy(network(each, training=False)) for each in (x, x + 1e-3)
    )
    assert np.abs(before - after).max() > 1e-5


def test_images_that_do_not_fit_are_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    MODELS["engineers"][0]().save(path)
    with pytest.raises(ValueError, match=r"data.options.size = \[16, 16\]") as caught:
        own_model(CLASSES, (32, 32, 1), str(path))
    assert 'data.options.color = "color"' in str(caught.value)
    with pytest.raises(ValueError, match="has 4 classes, and the data have 5"):
        own_model(5, SHAPE, str(path))
    with pytest.raises(ValueError, match="cannot be loaded"):
        own_model(CLASSES, SHAPE, str(tmp_path / "missing.keras"))


def test_frozen_layers_are_found_by_their_names() -> None:
    network = adapted(MODELS["engineers"][0](), input_shape=SHAPE)
    trained = len(network.trainable_weights)
    assert len(freeze(network, ["conv2d*"])) == 1
    assert len(network.trainable_weights) == trained - 2
    with pytest.raises(ValueError, match="'stem', which no layer has. The layers are"):
        freeze(network, ["stem"])
