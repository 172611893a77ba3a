"""Pre-activation ResNets (He et al. 2016, v2), B-MTARD's networks for Tiny-ImageNet."""

from __future__ import annotations

from dataclasses import replace

import keras

from kmtard.networks.blocks import Shape
from kmtard.networks.pre_activation import Style, pre_activation_resnet
from kmtard.registry.ranges import Mean, Std, checked

WIDTHS = (64, 128, 256, 512)
STYLE = Style(
    stem="conv1",
    block="layer{stage}-{block}",
    layers=("bn1", "conv1", "bn2", "conv2"),
    shortcut="shortcut-0",
    last="bn",
    head="linear",
)
FAST = replace(STYLE, last=None, raw_shortcut=True)
DEEPMIND = Style(
    stem="conv_2d",
    block="layer_{group}-{block}",
    layers=("batchnorm_0", "conv_2d_1", "batchnorm_1", "conv_2d_2"),
    shortcut="shortcut",
    last="batchnorm",
    head="logits",
    activation="silu",
    far_padding=True,
    raw_shortcut=True,
    shortcut_size=3,
)


@checked
def preact_resnet18(
    num_classes: int,
    input_shape: Shape,
    *,
    mean: Mean = (),
    std: Std = (),
) -> keras.Model:
    """PreActResNet-18, a student of B-MTARD on Tiny-ImageNet.

    11,269,640 trainable parameters for 200 classes, and 7,808 moving statistics.

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
    stages = tuple(zip(WIDTHS, (2, 2, 2, 2), strict=True))
    return pre_activation_resnet(
        num_classes, input_shape, STYLE, WIDTHS[0], stages, mean=mean, std=std
    )


@checked
def preact_resnet34(
    num_classes: int,
    input_shape: Shape,
    *,
    mean: Mean = (),
    std: Std = (),
) -> keras.Model:
    """PreActResNet-34, both teachers of B-MTARD on Tiny-ImageNet.

    21,377,800 trainable parameters for 200 classes, and 15,232 moving statistics.

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
    stages = tuple(zip(WIDTHS, (3, 4, 6, 3), strict=True))
    return pre_activation_resnet(
        num_classes, input_shape, STYLE, WIDTHS[0], stages, mean=mean, std=std
    )


@checked
def fast_preact_resnet18(
    num_classes: int,
    input_shape: Shape,
    *,
    mean: Mean = (),
    std: Std = (),
) -> keras.Model:
    """PreActResNet-18 without the last BatchNorm, as in Wong et al. 2020.

    The shortcuts' convolutions get the input of a block before its BatchNorm.

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
    stages = tuple(zip(WIDTHS, (2, 2, 2, 2), strict=True))
    return pre_activation_resnet(
        num_classes, input_shape, FAST, WIDTHS[0], stages, mean=mean, std=std
    )


@checked
def deepmind_preact_resnet18(
    num_classes: int,
    input_shape: Shape,
    *,
    mean: Mean = (),
    std: Std = (),
) -> keras.Model:
    """PreActResNet-18 with SiLU and 3x3 shortcuts, as in DeepMind's code.

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
    stages = tuple(zip(WIDTHS, (2, 2, 2, 2), strict=True))
    return pre_activation_resnet(
        num_classes, input_shape, DEEPMIND, WIDTHS[0], stages, mean=mean, std=std
    )
