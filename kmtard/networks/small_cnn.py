"""A network of three convolutions for small images, first experiments and tests."""

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
    """Small convolutional network for first experiments and tests.

    It has three 3x3 convolutions with BatchNorm and ReLU, then a dense layer on the
    flattened features. The convolutions have `width`, `2 * width` and `2 * width`
    channels; the second one has stride 2.

    Args:
        num_classes: Number of logits, at least 2.
        input_shape: `(height, width, channels)` of an image, each at least 1.
        width: Channels of the first convolution, at least 1.
        mean: One value per channel, subtracted from the images; or a name that sets
            `mean` and `std`: "cifar10", "cifar100", "tiny_imagenet" or "2x-1"; or () or
            None for no standardization.
        std: One positive value per channel, which divides the difference; or as `mean`.

    Returns:
        A Keras model from images in [0, 1] to logits.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> network = kmtard.networks.small_cnn(10, (8, 8, 1))
        >>> network.count_params()
        19418
    """
    check_shapes(num_classes, input_shape)
    images = keras.Input(input_shape)
    x = standardized(images, mean, std)
    for filters, strides in ((width, 1), (2 * width, 2), (2 * width, 1)):
        x = keras.layers.ReLU()(normalization(convolution(x, filters, 3, strides)))
    return keras.Model(
        images, dense_logits(keras.layers.Flatten(DATA_FORMAT)(x), num_classes)
    )
