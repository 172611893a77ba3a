"""ResNets for small images: a 3x3 stem and no max-pooling (He et al. 2016)."""

from __future__ import annotations

import keras

from kmtard.networks.blocks import (
    Shape,
    check_shapes,
    convolution,
    dense_logits,
    global_average,
    he_initializer,
    kernel_initializer,
    normalization,
)
from kmtard.networks.standardization import standardized
from kmtard.registry.ranges import Mean, Std, checked


@checked
def resnet18(
    num_classes: int,
    input_shape: Shape,
    *,
    mean: Mean = None,
    std: Std = None,
) -> keras.Model:
    """ResNet-18 for small images, a student of B-MTARD.

    11,173,962 trainable parameters for 10 classes, and 9,600 moving statistics.

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
    x = _features(x, (64, 128, 256, 512), 2, "shortcut", kernel_initializer())
    return keras.Model(images, dense_logits(x, num_classes, name="linear"))


@checked
def resnet56(
    num_classes: int,
    input_shape: Shape,
    *,
    mean: Mean = (),
    std: Std = (),
) -> keras.Model:
    """ResNet-56 for small images, a clean teacher of B-MTARD.

    855,770 trainable parameters for 10 classes, and 4,256 moving statistics. Shortcuts
    that change the width are 1x1 convolutions, as in chenyaofo/pytorch-cifar-models.
    The weights of that repository need its `mean` and `std`.

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
    x = _features(x, (16, 32, 64), 9, "downsample", he_initializer())
    return keras.Model(images, dense_logits(x, num_classes, name="fc"))


def _features(
    x: keras.KerasTensor,
    stages: tuple[int, ...],
    blocks: int,
    shortcut: str,
    initializer: keras.initializers.Initializer,
) -> keras.KerasTensor:
    x = convolution(x, stages[0], name="conv1", initializer=initializer)
    x = keras.layers.ReLU()(normalization(x, "bn1"))
    for stage, filters in enumerate(stages, 1):
        for block in range(blocks):
            strides = 2 if stage > 1 and block == 0 else 1
            name = f"layer{stage}-{block}"
            x = _block(x, filters, strides, name, shortcut, initializer)
    return global_average(x)


def _block(
    x: keras.KerasTensor,
    filters: int,
    strides: int,
    name: str,
    shortcut: str,
    initializer: keras.initializers.Initializer,
) -> keras.KerasTensor:
    def convolve(x: keras.KerasTensor, *args: int, name: str) -> keras.KerasTensor:
        return convolution(x, filters, *args, name=name, initializer=initializer)

    identity = x
    if strides > 1 or x.shape[-1] != filters:
        identity = convolve(x, 1, strides, name=f"{name}-{shortcut}-0")
        identity = normalization(identity, f"{name}-{shortcut}-1")
    x = convolve(x, 3, strides, name=f"{name}-conv1")
    x = keras.layers.ReLU()(normalization(x, f"{name}-bn1"))
    x = normalization(convolve(x, name=f"{name}-conv2"), f"{name}-bn2")
    return keras.layers.ReLU()(keras.layers.Add()([x, identity]))
