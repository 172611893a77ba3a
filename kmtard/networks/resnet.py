"""ResNets for small images: a 3x3 stem and no max-pooling (He et al. 2016)."""

from __future__ import annotations

import keras

from kmtard.networks.blocks import (
    DATA_FORMAT,
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

RESNET50 = ((64, 3), (128, 4), (256, 6), (512, 3))
"""Inner channels and number of blocks of each stage."""

EXPANSION = 4
"""A bottleneck block has so many times its inner channels."""


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


@checked
def resnet50(
    num_classes: int,
    input_shape: Shape,
    *,
    mean: Mean = (),
    std: Std = (),
) -> keras.Model:
    """ResNet-50 for small images, as in pytorch-cifar.

    23,520,842 trainable parameters for 10 classes, and 53,120 moving statistics.

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
    x = _convolve_first(x, 64, kernel_initializer())
    for stage, (filters, blocks) in enumerate(RESNET50, 1):
        for block in range(blocks):
            strides = 2 if stage > 1 and block == 0 else 1
            x = _bottleneck(x, filters, strides, f"layer{stage}-{block}")
    x = global_average(x)
    return keras.Model(images, dense_logits(x, num_classes, name="linear"))


@checked
def resnet56_option_a(
    num_classes: int,
    input_shape: Shape,
    *,
    mean: Mean = (),
    std: Std = (),
) -> keras.Model:
    """ResNet-56 whose shortcuts have no weights (option A of He et al. 2016).

    Shortcuts that change the width drop every second pixel and add channels of zeros,
    as in akamaster/pytorch_resnet_cifar10. 853,018 trainable parameters for 10 classes,
    and 4,064 moving statistics.

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
    x = _features(x, (16, 32, 64), 9, None, he_initializer())
    return keras.Model(images, dense_logits(x, num_classes, name="linear"))


def _features(
    x: keras.KerasTensor,
    stages: tuple[int, ...],
    blocks: int,
    shortcut: str | None,
    initializer: keras.initializers.Initializer,
) -> keras.KerasTensor:
    x = _convolve_first(x, stages[0], initializer)
    for stage, filters in enumerate(stages, 1):
        for block in range(blocks):
            strides = 2 if stage > 1 and block == 0 else 1
            name = f"layer{stage}-{block}"
            x = _block(x, filters, strides, name, shortcut, initializer)
    return global_average(x)


def _convolve_first(
    x: keras.KerasTensor, filters: int, initializer: keras.initializers.Initializer
) -> keras.KerasTensor:
    x = convolution(x, filters, name="conv1", initializer=initializer)
    return keras.layers.ReLU()(normalization(x, "bn1"))


def _block(
    x: keras.KerasTensor,
    filters: int,
    strides: int,
    name: str,
    shortcut: str | None,
    initializer: keras.initializers.Initializer,
) -> keras.KerasTensor:
    def convolve(x: keras.KerasTensor, *args: int, name: str) -> keras.KerasTensor:
        return convolution(x, filters, *args, name=name, initializer=initializer)

    identity = x
    if shortcut is None:
        identity = _padded(x, filters, strides)
    elif strides > 1 or x.shape[-1] != filters:
        identity = convolve(x, 1, strides, name=f"{name}-{shortcut}-0")
        identity = normalization(identity, f"{name}-{shortcut}-1")
    x = convolve(x, 3, strides, name=f"{name}-conv1")
    x = keras.layers.ReLU()(normalization(x, f"{name}-bn1"))
    x = normalization(convolve(x, name=f"{name}-conv2"), f"{name}-bn2")
    return keras.layers.ReLU()(keras.layers.Add()([x, identity]))


def _padded(x: keras.KerasTensor, filters: int, strides: int) -> keras.KerasTensor:
    """Return every second pixel of each row and column, with channels of zeros."""
    if strides > 1:
        # A pooling of single pixels only selects them.
        pooling = keras.layers.MaxPooling2D(1, strides=strides, data_format=DATA_FORMAT)
        x = pooling(x)
    missing = filters - x.shape[-1]
    sides = (missing // 2, missing - missing // 2)
    return keras.ops.pad(x, ((0, 0), (0, 0), (0, 0), sides)) if missing else x


def _bottleneck(
    x: keras.KerasTensor, filters: int, strides: int, name: str
) -> keras.KerasTensor:
    identity, outputs = x, EXPANSION * filters
    if strides > 1 or x.shape[-1] != outputs:
        identity = convolution(x, outputs, 1, strides, name=f"{name}-shortcut-0")
        identity = normalization(identity, f"{name}-shortcut-1")
    x = convolution(x, filters, 1, name=f"{name}-conv1")
    x = keras.layers.ReLU()(normalization(x, f"{name}-bn1"))
    x = convolution(x, filters, 3, strides, name=f"{name}-conv2")
    x = keras.layers.ReLU()(normalization(x, f"{name}-bn2"))
    x = convolution(x, outputs, 1, name=f"{name}-conv3")
    x = normalization(x, f"{name}-bn3")
    return keras.layers.ReLU()(keras.layers.Add()([x, identity]))
