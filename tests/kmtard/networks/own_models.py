"""Classifiers as people have them, each with what a network needs around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

SHAPE, CLASSES = (16, 16, 3), 4


@keras.saving.register_keras_serializable("kmtard_tests")
class SubclassedPhotos(keras.Model):
    """A model that does not show its layers, and is not built before its first call."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = layers.Rescaling(1 / 255)
        self.conv = layers.Conv2D(4, 3, data_format="channels_last")
        self.pool = layers.GlobalAveragePooling2D(data_format="channels_last")
        self.head = layers.Dense(CLASSES, activation="softmax")

    def call(self, images: Any, training: bool = False) -> Any:
        return self.head(self.pool(self.conv(self.scale(images))))


def engineers() -> keras.Model:
    """Augmentation, Rescaling, BatchNorm, dropout and softmax."""
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.RandomFlip("horizontal", seed=0, data_format="channels_last"),
            layers.RandomTranslation(0.1, 0.1, seed=0, data_format="channels_last"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, activation="relu", data_format="channels_last"),
            layers.BatchNormalization(axis=-1),
            layers.Dropout(0.2, seed=0),
            layers.Flatten(data_format="channels_last"),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )


def subclassed() -> keras.Model:
    model = SubclassedPhotos()
    model(np.zeros((1, *SHAPE), "float32"))
    return model


def of_integers() -> keras.Model:
    images = keras.Input(SHAPE, dtype="uint8")
    x = layers.Rescaling(1 / 127.5, -1)(images)
    x = layers.Flatten(data_format="channels_last")(x)
    return keras.Model(images, layers.Dense(CLASSES, activation="softmax")(x))


def channels_first() -> keras.Model:
    images = keras.Input((SHAPE[2], *SHAPE[:2]))
    x = layers.GlobalAveragePooling2D(data_format="channels_first")(images)
    return keras.Model(images, layers.Dense(CLASSES, activation="softmax")(x))


def one_output() -> keras.Model:
    images = keras.Input(SHAPE)
    x = layers.Flatten(data_format="channels_last")(images)
    return keras.Model(images, layers.Dense(1, activation="sigmoid")(x))


def half() -> keras.Model:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float16")
    try:
        return engineers()
    finally:
        keras.config.set_dtype_policy(policy)


def transformer() -> keras.Model:
    """A small ViT: patches, attention, LayerNorm, and no BatchNorm."""
    images = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 255)(images)
    x = layers.Conv2D(16, 4, strides=4, data_format="channels_last")(x)
    x = layers.Reshape((16, 16))(x)
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(2, 8)(y, y)])
        y = layers.Dense(32, activation="gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(16)(y)])
    x = layers.GlobalAveragePooling1D(data_format="channels_last")(x)
    return keras.Model(images, layers.Dense(CLASSES)(x))


def plain() -> keras.Model:
    """What a network of kmtard is: from images in [0, 1] to logits."""
    images = keras.Input(SHAPE)
    x = layers.Flatten(data_format="channels_last")(images)
    return keras.Model(images, layers.Dense(CLASSES)(x))


BYTES, SIGNED = (0.0, 255.0), (-1.0, 1.0)
MODELS: dict[str, tuple[Callable[[], keras.Model], Any, str]] = {
    "engineers": (engineers, BYTES, "softmax"),
    "subclassed": (subclassed, BYTES, "unknown"),
    "of_integers": (of_integers, BYTES, "softmax"),
    "channels_first": (channels_first, None, "softmax"),
    "one_output": (one_output, None, "sigmoid"),
    "half": (half, BYTES, "softmax"),
    "transformer": (transformer, BYTES, "logits"),
    "plain": (plain, None, "logits"),
}
"""Name -> how it is made, the range that its layers show, and its ending."""
