"""MobileNet-v2 for small images (Sandler et al. 2018, as in kuangliu/pytorch-cifar).

It differs from the network for ImageNet in four points: the activation is ReLU instead
of ReLU6; the stem and the second row of blocks have stride 1; the first block also has
a 1x1 expansion; every block of stride 1 has a shortcut.
"""

from __future__ import annotations

import keras

from kmtard.networks.blocks import (
    DATA_FORMAT,
    Shape,
    check_shapes,
    convolution,
    dense_logits,
    global_average,
    normalization,
)
from kmtard.networks.standardization import standardized
from kmtard.registry.ranges import Mean, Std, checked

# Each row: expansion factor, channels, number of blocks, strides of the first block.
ROWS = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


@checked
def mobilenet_v2(
    num_classes: int,
    input_shape: Shape,
    *,
    mean: Mean = None,
    std: Std = None,
) -> keras.Model:
    """MobileNet-v2 for small images, a student of B-MTARD.

    2,296,922 trainable parameters for 10 classes, and 35,088 moving statistics.

    Args:
        num_classes: Number of logits, at least 2.
        input_shape: `(height, width, channels)` of an image.
        mean: One value per channel, subtracted from the images; or a name that sets
            `mean` and `std`: "cifar10", "cifar100", "tiny_imagenet" or "2x-1"; or () or
            None for no standardization.
        std: One positive value per channel, which divides the difference; or as `mean`.

    Returns:
        A Keras model from images in [0, 1] to logits.

    Raises:
        ValueError: An argument is out of its range.
    """
    check_shapes(num_classes, input_shape)
    images = keras.Input(input_shape)
    x = standardized(images, mean, std)
    x = _activate(convolution(x, 32, name="conv1"), "bn1")
    blocks = [
        (expansion, filters, strides if block == 0 else 1)
        for expansion, filters, repeats, strides in ROWS
        for block in range(repeats)
    ]
    for index, (expansion, filters, strides) in enumerate(blocks):
        x = _block(x, expansion, filters, strides, f"layers-{index}")
    x = _activate(convolution(x, 1280, 1, name="conv2"), "bn2")
    x = global_average(x)
    return keras.Model(images, dense_logits(x, num_classes, name="linear"))


def _block(
    x: keras.KerasTensor, expansion: int, filters: int, strides: int, name: str
) -> keras.KerasTensor:
    shortcut = x
    x = convolution(x, expansion * x.shape[-1], 1, name=f"{name}-conv1")
    x = _activate(x, f"{name}-bn1")
    x = _activate(_depthwise(x, strides, f"{name}-conv2"), f"{name}-bn2")
    x = normalization(convolution(x, filters, 1, name=f"{name}-conv3"), f"{name}-bn3")
    if strides > 1:
        return x
    if shortcut.shape[-1] != filters:
        shortcut = convolution(shortcut, filters, 1, name=f"{name}-shortcut-0")
        shortcut = normalization(shortcut, f"{name}-shortcut-1")
    return keras.layers.Add()([x, shortcut])


def _depthwise(x: keras.KerasTensor, strides: int, name: str) -> keras.KerasTensor:
    if strides > 1:
        # Keras pads only the bottom and the right for "same"; PyTorch pads all sides.
        x = keras.layers.ZeroPadding2D(1, data_format=DATA_FORMAT)(x)
    return keras.layers.DepthwiseConv2D(
        3,
        strides=strides,
        padding="same" if strides == 1 else "valid",
        data_format=DATA_FORMAT,
        use_bias=False,
        # Keras includes all channels in fan_in; PyTorch's fan_in is 3 * 3 * 1.
        depthwise_initializer=keras.initializers.RandomUniform(-1 / 3, 1 / 3),
        name=name,
    )(x)


def _activate(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.ReLU()(normalization(x, name))
