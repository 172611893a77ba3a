"""ResNets for small images: 3x3 stem, no max-pooling (He et al. 2016)."""

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
    """Return the ResNet-18 of B-MTARD's students, from images in [0, 1] to logits.

    11,173,962 parameters for 10 classes, beside 9,600 moving values.

    Args:
        num_classes: Number of logits, at least 2.
        input_shape: `(height, width, channels)` of an image.
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
    """Return the ResNet-56 of B-MTARD's clean teacher, from images in [0, 1] to logits.

    855,770 parameters for 10 classes, beside 4,256 moving values. The shortcuts that
    change the width are 1x1 convolutions, as in chenyaofo/pytorch-cifar-models, whose
    weights want that repository's `mean` and `std`.

    Args:
        num_classes: Number of logits, at least 2.
        input_shape: `(height, width, channels)` of an image.
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
