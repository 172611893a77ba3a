"""ResNet-18 for small images: 3x3 stem, no max-pooling (He et al. 2016)."""

from __future__ import annotations

import keras

from kmtard.networks.blocks import (
    check_shapes,
    convolution,
    dense_logits,
    normalization,
)

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
BLOCKS = 2


def resnet18(num_classes: int, input_shape: tuple[int, int, int]) -> keras.Model:
    """Return the ResNet-18 of B-MTARD's students, from images in [0, 1] to logits.

    11,173,962 parameters for 10 classes, beside 9,600 moving values.

    Args:
        num_classes: Number of logits, at least 2.
        input_shape: `(height, width, channels)` of an image.

    Raises:
        ValueError: An argument is out of its range.
    """
    check_shapes(num_classes, input_shape)
    images = keras.Input(input_shape)
    x = keras.layers.ReLU()(normalization(convolution(images, STAGES[0][0])))
    for filters, strides in STAGES:
        for block in range(BLOCKS):
            x = _block(x, filters, strides if block == 0 else 1)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, dense_logits(x, num_classes))


def _block(x: keras.KerasTensor, filters: int, strides: int) -> keras.KerasTensor:
    shortcut = x
    if strides > 1 or x.shape[-1] != filters:
        shortcut = normalization(convolution(x, filters, 1, strides))
    x = keras.layers.ReLU()(normalization(convolution(x, filters, 3, strides)))
    x = normalization(convolution(x, filters))
    return keras.layers.ReLU()(keras.layers.Add()([x, shortcut]))
