"""The networks of keras.applications, and that they take images in [0, 1]."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kmtard import registry
from kmtard.networks.applications import _preprocessed
from kmtard.registry.networks import APPLICATIONS

MODULES = {
    "MobileNetV2": keras.applications.mobilenet_v2,
    "ResNet50V2": keras.applications.resnet_v2,
    "ResNet50": keras.applications.resnet,
    "VGG16": keras.applications.vgg16,
    "DenseNet121": keras.applications.densenet,
    "EfficientNetB0": keras.applications.efficientnet,
    "Xception": keras.applications.xception,
}


def test_all_names_are_networks_of_keras() -> None:
    for name in APPLICATIONS:
        assert callable(getattr(keras.applications, name))


@pytest.mark.parametrize("name", MODULES)
def test_preprocessing_is_that_of_keras(name: str) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (2, 4, 4, 3)).astype("float32")
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, _preprocessed(inputs, name))
    found = ops.convert_to_numpy(model(pixels / 255))
    expected = MODULES[name].preprocess_input(
        pixels.copy(), data_format="channels_last"
    )
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.slow
@pytest.mark.once("torch")  # which compiles least
@pytest.mark.parametrize("name", ["MobileNetV2", "EfficientNetB0", "ResNet50V2"])
def test_a_step_of_b_mtard(name: str) -> None:
    """At 64 x 64 pixels, with all its normalization and dropout."""
    import kmtard

    make: Any = registry.resolve("networks", f"keras.applications:{name}")
    student, one, other = (make(4, (64, 64, 3)) for _ in range(3))
    x = np.random.RandomState(0).random((4, 64, 64, 3)).astype("float32")
    attack = kmtard.attacks.PGD(epsilon=8 / 255, step_size=2 / 255, steps=1)
    model = kmtard.methods.BMTARD(student, one, other, attack=attack)
    model.compile(kmtard.optimizers.L2SGD(0.01, momentum=0.9))
    before = ops.convert_to_numpy(student.trainable_weights[-1]).copy()
    history = model.fit(x, np.arange(4), batch_size=4, verbose=0)
    assert np.isfinite(history.history["loss"][0])
    after = ops.convert_to_numpy(student.trainable_weights[-1])
    assert not np.array_equal(before, after)
