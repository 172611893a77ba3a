"""A three-layer convolutional network for small images, first tries and tests."""

from __future__ import annotations

import keras

from kmtard.networks.blocks import (
    DATA_FORMAT,
    check_shapes,
    convolution,
    dense_logits,
    normalization,
)
from kmtard.networks.standardization import standardized
from kmtard.registry.ranges import Mean, Std, Width, checked


@checked
def small_cnn(
    num_classes: int,
    input_shape: tuple[int, int, int],
    *,
    width: Width = 16,
    mean: Mean = None,
    std: Std = None,
) -> keras.Model:
    """Return a small network from images in [0, 1] to logits.

    Three 3x3 convolutions with batch normalisation and ReLU, of `width`, `2 * width`
    (stride 2) and `2 * width` channels, then a dense layer on the flattened map.

    Args:
        num_classes: Number of logits, at least 2.
        input_shape: `(height, width, channels)` of an image, each at least 1.
        width: Channels of the first convolution, at least 1.
        mean: Subtracted from each channel of the images: values, or "cifar10",
            "cifar100", "tiny_imagenet" or "2x-1", which stands for `std` too; () or
            None for none.
        std: Then divides each channel; as `mean`.

    Raises:
        ValueError: An argument is out of its range.
    """
    check_shapes(num_classes, input_shape)
    images = keras.Input(input_shape)
    x = standardized(images, mean, std)
    for filters, strides in ((width, 1), (2 * width, 2), (2 * width, 1)):
        x = keras.layers.ReLU()(normalization(convolution(x, filters, 3, strides)))
    return keras.Model(
        images, dense_logits(keras.layers.Flatten(DATA_FORMAT)(x), num_classes)
    )
