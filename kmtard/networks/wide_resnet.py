"""Wide residual networks, teachers (Zagoruyko & Komodakis 2016).

Two published codes differ in activation, padding, initial kernels and key names: that
of TRADES (Zhang et al. 2019) and DeepMind's (Gowal et al. 2020).
"""

from __future__ import annotations

import keras

from kmtard.networks.blocks import Shape
from kmtard.networks.pre_activation import Style, pre_activation_resnet

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


def wide_resnet_28_10(num_classes: int, input_shape: Shape) -> keras.Model:
    """Return TRADES's WRN-28-10, from images in [0, 1] to logits.

    36,479,194 parameters for 10 classes, beside 17,952 moving values.

    Args:
        num_classes: Number of logits, at least 2.
        input_shape: `(height, width, channels)` of an image.

    Raises:
        ValueError: An argument is out of its range.
    """
    return trades_wide_resnet(num_classes, input_shape, depth=28, width=10)


def wide_resnet_34_10(num_classes: int, input_shape: Shape) -> keras.Model:
    """Return TRADES's WRN-34-10, from images in [0, 1] to logits.

    46,160,474 parameters for 10 classes, beside 22,432 moving values.

    Args:
        num_classes: Number of logits, at least 2.
        input_shape: `(height, width, channels)` of an image.

    Raises:
        ValueError: An argument is out of its range.
    """
    return trades_wide_resnet(num_classes, input_shape, depth=34, width=10)


def wide_resnet_22_6(
    num_classes: int,
    input_shape: Shape,
    *,
    mean: tuple[float, ...] = (0.4914, 0.4822, 0.4465),
    std: tuple[float, ...] = (0.2471, 0.2435, 0.2616),
) -> keras.Model:
    """Return DeepMind's WRN-22-6, from images in [0, 1] to logits.

    9,693,108 parameters for 100 classes, beside 8,096 moving values. The constants are
    those of CIFAR-10: MTARD's code gives them to its CIFAR-100 networks too.

    Args:
        num_classes: Number of logits, at least 2.
        input_shape: `(height, width, channels)` of an image.
        mean: Subtracted from each channel of the images; empty for none.
        std: Then divides each channel; empty for none.

    Raises:
        ValueError: An argument is out of its range.
    """
    return deepmind_wide_resnet(
        num_classes, input_shape, depth=22, width=6, mean=mean, std=std
    )


def wide_resnet_70_16(
    num_classes: int,
    input_shape: Shape,
    *,
    mean: tuple[float, ...] = (0.5071, 0.4865, 0.4409),
    std: tuple[float, ...] = (0.2673, 0.2564, 0.2762),
) -> keras.Model:
    """Return DeepMind's WRN-70-16, from images in [0, 1] to logits.

    266,888,756 parameters for 100 classes, beside 78,880 moving values. The constants
    are those of the published CIFAR-100 weights.

    Args:
        num_classes: Number of logits, at least 2.
        input_shape: `(height, width, channels)` of an image.
        mean: Subtracted from each channel of the images; empty for none.
        std: Then divides each channel; empty for none.

    Raises:
        ValueError: An argument is out of its range.
    """
    return deepmind_wide_resnet(
        num_classes, input_shape, depth=70, width=16, mean=mean, std=std
    )


def trades_wide_resnet(
    num_classes: int, input_shape: Shape, *, depth: int, width: int
) -> keras.Model:
    """Return a wide ResNet as in TRADES's code, from images in [0, 1] to logits.

    Args:
        num_classes: Number of logits, at least 2.
        input_shape: `(height, width, channels)` of an image.
        depth: Number of layers, 6 n + 4.
        width: Factor of the channels 16, 32 and 64.

    Raises:
        ValueError: An argument is out of its range.
    """
    stages = _stages(depth, width)
    return pre_activation_resnet(num_classes, input_shape, TRADES, STEM, stages)


def deepmind_wide_resnet(
    num_classes: int,
    input_shape: Shape,
    *,
    depth: int,
    width: int,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
) -> keras.Model:
    """Return a wide ResNet as in DeepMind's code, from images in [0, 1] to logits.

    Args:
        num_classes: Number of logits, at least 2.
        input_shape: `(height, width, channels)` of an image.
        depth: Number of layers, 6 n + 4.
        width: Factor of the channels 16, 32 and 64.
        mean: Subtracted from each channel of the images; empty for none.
        std: Then divides each channel; empty for none.

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
