"""Wide residual networks, teachers (Zagoruyko & Komodakis 2016).

Two published codes differ in activation, padding, initial kernels and key names: that
of TRADES (Zhang et al. 2019) and DeepMind's (Gowal et al. 2020).
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
    """Return TRADES's WRN-28-10, from images in [0, 1] to logits.

    36,479,194 parameters for 10 classes, beside 17,952 moving values.

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
    """Return TRADES's WRN-34-10, from images in [0, 1] to logits.

    46,160,474 parameters for 10 classes, beside 22,432 moving values.

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
    """Return DeepMind's WRN-22-6, from images in [0, 1] to logits.

    9,693,108 parameters for 100 classes, beside 8,096 moving values. The constants are
    those of CIFAR-10: MTARD's code gives them to its CIFAR-100 networks too.

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
    """Return DeepMind's WRN-70-16, from images in [0, 1] to logits.

    266,888,756 parameters for 100 classes, beside 78,880 moving values. Where `mean`
    and `std` are left out, the constants are those of the published weights: CIFAR-10's
    for 10 classes, CIFAR-100's for others.

    Args:
        num_classes: Number of logits, at least 2.
        input_shape: `(height, width, channels)` of an image.
        mean: Subtracted from each channel of the images: values, or "cifar10",
            "cifar100", "tiny_imagenet" or "2x-1", which stands for `std` too; () for
            none.
        std: Then divides each channel; as `mean`.

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
    """Return a wide ResNet as in TRADES's code, from images in [0, 1] to logits.

    Args:
        num_classes: Number of logits, at least 2.
        input_shape: `(height, width, channels)` of an image.
        depth: Number of layers, 6 n + 4.
        width: Factor of the channels 16, 32 and 64.
        mean: Subtracted from each channel of the images: values, or "cifar10",
            "cifar100", "tiny_imagenet" or "2x-1", which stands for `std` too; () or
            None for none.
        std: Then divides each channel; as `mean`.

    Raises:
        ValueError: An argument is out of its range.
    """
    stages = _stages(depth, width)
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
    """Return a wide ResNet as in DeepMind's code, from images in [0, 1] to logits.

    Args:
        num_classes: Number of logits, at least 2.
        input_shape: `(height, width, channels)` of an image.
        depth: Number of layers, 6 n + 4.
        width: Factor of the channels 16, 32 and 64.
        mean: Subtracted from each channel of the images: values, or "cifar10",
            "cifar100", "tiny_imagenet" or "2x-1", which stands for `std` too; () or
            None for none.
        std: Then divides each channel; as `mean`.

    Raises:
        ValueError: An argument is out of its range.
    """
    stages = _stages(depth, width)
    return pre_activation_resnet(
        num_classes, input_shape, DEEPMIND, STEM, stages, mean=mean, std=std
    )


def _stages(depth: int, width: int) -> list[tuple[int, int]]:
    blocks, rest = divmod(depth - 4, 6)
    if blocks < 1 or rest or width < 1:
        raise ValueError(
            "`depth` must be 10, 16, 22, ... and `width` at least 1. "
            f"Received: depth={depth}, width={width}."
        )
    return [(filters * width, blocks) for filters in GROUPS]
