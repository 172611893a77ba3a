"""Wide residual networks (Zagoruyko and Komodakis 2016), used as teachers.

There are two variants, after the code of TRADES (Zhang et al. 2019) and the code of
DeepMind (Gowal et al. 2020). They differ in activation, padding, initializers and layer
names.
"""

from __future__ import annotations

import keras

from kmtard.networks.blocks import Shape
from kmtard.networks.pre_activation import Style, pre_activation_resnet
from kmtard.registry.ranges import Mean, Std, checked

STEM = 16
GROUPS = (16, 32, 64)
TRADES = Style(
    stem="conv1",
    block="block{stage}-layer-{block}",
    layers=("bn1", "conv1", "bn2", "conv2"),
    shortcut="convShortcut",
    last="bn1",
    head="fc",
    he_normal=True,
)
DEEPMIND = Style(
    stem="init_conv",
    block="layer-{group}-block-{block}",
    layers=("batchnorm_0", "conv_0", "batchnorm_1", "conv_1"),
    shortcut="shortcut",
    last="batchnorm",
    head="logits",
    activation="silu",
    far_padding=True,
)


@checked
def wide_resnet_28_10(
    num_classes: int,
    input_shape: Shape,
    *,
    mean: Mean = None,
    std: Std = None,
) -> keras.Model:
    """WRN-28-10 as in TRADES's code.

    36,479,194 trainable parameters for 10 classes, and 17,952 moving statistics.

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
    return trades_wide_resnet(
        num_classes, input_shape, depth=28, width=10, mean=mean, std=std
    )


@checked
def wide_resnet_34_10(
    num_classes: int,
    input_shape: Shape,
    *,
    mean: Mean = None,
    std: Std = None,
) -> keras.Model:
    """WRN-34-10 as in TRADES's code.

    46,160,474 trainable parameters for 10 classes, and 22,432 moving statistics.

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
    return trades_wide_resnet(
        num_classes, input_shape, depth=34, width=10, mean=mean, std=std
    )


@checked
def wide_resnet_22_6(
    num_classes: int,
    input_shape: Shape,
    *,
    mean: Mean = (0.4914, 0.4822, 0.4465),
    std: Std = (0.2471, 0.2435, 0.2616),
) -> keras.Model:
    """WRN-22-6 as in DeepMind's code.

    9,693,108 trainable parameters for 100 classes, and 8,096 moving statistics. The
    default constants are
    those of CIFAR-10, which MTARD's code also uses for its CIFAR-100 networks.

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
    return deepmind_wide_resnet(
        num_classes, input_shape, depth=22, width=6, mean=mean, std=std
    )


@checked
def wide_resnet_70_16(
    num_classes: int,
    input_shape: Shape,
    *,
    mean: Mean = None,
    std: Std = None,
) -> keras.Model:
    """WRN-70-16 as in DeepMind's code.

    266,888,756 trainable parameters for 100 classes, and 78,880 moving statistics. By
    default, the constants are those of the published weights: CIFAR-10's for 10
    classes, CIFAR-100's for any other number.

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
    if mean is None and std is None:
        mean = std = "cifar10" if num_classes == 10 else "cifar100"
    return deepmind_wide_resnet(
        num_classes, input_shape, depth=70, width=16, mean=mean, std=std
    )


@checked
def trades_wide_resnet(
    num_classes: int,
    input_shape: Shape,
    *,
    depth: int,
    width: int,
    mean: Mean = None,
    std: Std = None,
) -> keras.Model:
    """Wide ResNet as in TRADES's code.

    Args:
        num_classes: Number of logits, at least 2.
        input_shape: `(height, width, channels)` of an image.
        depth: Number of layers, 6 n + 4 with n >= 1.
        width: Factor by which the channels 16, 32 and 64 are multiplied, >= 1.
        mean: One value per channel, subtracted from the images; or a name that sets
            `mean` and `std`: "cifar10", "cifar100", "tiny_imagenet" or "2x-1"; or () or
            None for no standardization.
        std: One positive value per channel, which divides the difference; or as `mean`.

    Returns:
        A Keras model from images in [0, 1] to logits.

    Raises:
        ValueError: An argument is out of its range.
    """
    stages = group_stages(depth, width)
    return pre_activation_resnet(
        num_classes, input_shape, TRADES, STEM, stages, mean=mean, std=std
    )


@checked
def deepmind_wide_resnet(
    num_classes: int,
    input_shape: Shape,
    *,
    depth: int,
    width: int,
    mean: Mean = (),
    std: Std = (),
) -> keras.Model:
    """Wide ResNet as in DeepMind's code.

    Args:
        num_classes: Number of logits, at least 2.
        input_shape: `(height, width, channels)` of an image.
        depth: Number of layers, 6 n + 4 with n >= 1.
        width: Factor by which the channels 16, 32 and 64 are multiplied, >= 1.
        mean: One value per channel, subtracted from the images; or a name that sets
            `mean` and `std`: "cifar10", "cifar100", "tiny_imagenet" or "2x-1"; or () or
            None for no standardization.
        std: One positive value per channel, which divides the difference; or as `mean`.

    Returns:
        A Keras model from images in [0, 1] to logits.

    Raises:
        ValueError: An argument is out of its range.
    """
    stages = group_stages(depth, width)
    return pre_activation_resnet(
        num_classes, input_shape, DEEPMIND, STEM, stages, mean=mean, std=std
    )


def group_stages(depth: int, width: int) -> list[tuple[int, int]]:
    """Return (channels, blocks) for each group of a wide ResNet.

    Args:
        depth: number of layers, 6 n + 4 with n >= 1.
        width: factor by which the channels 16, 32 and 64 are multiplied, >= 1.

    Raises:
        ValueError: an argument is out of its range.
    """
    blocks, rest = divmod(depth - 4, 6)
    if blocks < 1 or rest or width < 1:
        raise ValueError(
            "`depth` must be 10, 16, 22, ... and `width` must be at least 1. "
            f"Received: depth={depth!r}, width={width!r}."
        )
    return [(filters * width, blocks) for filters in GROUPS]
