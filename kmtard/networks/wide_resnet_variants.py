"""Wide residual networks of other papers, which RobustBench lists with their weights.

They differ from the two codes in `wide_resnet` in the channels and blocks of a group,
the activation, the classifier, or an added squeeze-and-excitation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras

from kmtard.networks.blocks import Shape
from kmtard.networks.pre_activation import Style, pre_activation_resnet
from kmtard.networks.wide_resnet import DEEPMIND, STEM, TRADES, group_stages
from kmtard.registry.ranges import Mean, Std, checked

EXPLORING = replace(TRADES, stem="stem_conv", block="blocks-{group}-layer-{block}")
REVISITING = replace(EXPLORING, shortcut="shortcut-0", last="norm1", activation="silu")
BOOSTING = replace(TRADES, unit_norm=True)
PENG = replace(DEEPMIND, squeeze=0.25)
PENG_STEM = 96


@checked
def shaped_wide_resnet(
    num_classes: int,
    input_shape: Shape,
    *,
    channels: Sequence[int],
    blocks: Sequence[int],
    silu: bool = False,
    mean: Mean = (),
    std: Std = (),
) -> keras.Model:
    """Wide ResNet with any width and depth of each group, as in Huang et al.

    "Exploring architectural ingredients of adversarially robust deep neural networks"
    (2021) has ReLU; WRN-A4 of "Revisiting residual networks for adversarial robustness"
    (2022) has SiLU and other layer names.

    Args:
        num_classes: Number of logits, at least 2.
        input_shape: `(height, width, channels)` of an image.
        channels: Channels of each group; every group but the first halves the images.
        blocks: Blocks of each group.
        silu: Whether the activation is SiLU, as in the second paper.
        mean: One value per channel, subtracted from the images; or a name that sets
            `mean` and `std`: "cifar10", "cifar100", "tiny_imagenet" or "2x-1"; or () or
            None for no standardization.
        std: One positive value per channel, which divides the difference; or as `mean`.

    Returns:
        A Keras model from images in [0, 1] to logits.

    Raises:
        ValueError: An argument is out of its range.
    """
    style: Style = REVISITING if silu else EXPLORING
    stages = _stages(channels, blocks)
    return pre_activation_resnet(
        num_classes, input_shape, style, STEM, stages, mean=mean, std=std
    )


@checked
def pssilu_wide_resnet(
    num_classes: int,
    input_shape: Shape,
    *,
    depth: int,
    width: int,
    mean: Mean = (),
    std: Std = (),
) -> keras.Model:
    """TRADES's wide ResNet with the learned activation PSSiLU (Dai et al. 2021).

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
    style = replace(TRADES, activation=PSSiLU(name="activation"))
    stages = group_stages(depth, width)
    return pre_activation_resnet(
        num_classes, input_shape, style, STEM, stages, mean=mean, std=std
    )


@checked
def cosine_wide_resnet(
    num_classes: int,
    input_shape: Shape,
    *,
    depth: int,
    width: int,
    mean: Mean = (),
    std: Std = (),
) -> keras.Model:
    """TRADES's wide ResNet whose logits are cosines (Pang et al. 2020, "Boosting").

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
        num_classes, input_shape, BOOSTING, STEM, stages, mean=mean, std=std
    )


@checked
def squeezed_wide_resnet(
    num_classes: int,
    input_shape: Shape,
    *,
    channels: Sequence[int],
    blocks: Sequence[int],
    mean: Mean = (),
    std: Std = (),
) -> keras.Model:
    """DeepMind's wide ResNet with squeeze-and-excitation (Peng et al. 2023, Ra-WRN).

    Args:
        num_classes: Number of logits, at least 2.
        input_shape: `(height, width, channels)` of an image.
        channels: Channels of each group; every group but the first halves the images.
        blocks: Blocks of each group.
        mean: One value per channel, subtracted from the images; or a name that sets
            `mean` and `std`: "cifar10", "cifar100", "tiny_imagenet" or "2x-1"; or () or
            None for no standardization.
        std: One positive value per channel, which divides the difference; or as `mean`.

    Returns:
        A Keras model from images in [0, 1] to logits.

    Raises:
        ValueError: An argument is out of its range.
    """
    stages = _stages(channels, blocks)
    return pre_activation_resnet(
        num_classes, input_shape, PENG, PENG_STEM, stages, mean=mean, std=std
    )


def _stages(channels: Sequence[int], blocks: Sequence[int]) -> list[tuple[int, int]]:
    if not channels or len(channels) != len(blocks) or min(*channels, *blocks) < 1:
        raise ValueError(
            "`channels` and `blocks` must have one positive number for each group. "
            f"Received: channels={tuple(channels)}, blocks={tuple(blocks)}."
        )
    return list(zip(channels, blocks, strict=True))


@keras.saving.register_keras_serializable(package="kmtard")
class PSSiLU(keras.layers.Layer):
    """The activation x (sigmoid(|alpha| x) - |beta|) / (1 - |beta|), both learned.

    From Dai et al. 2021, "Parameterizing activation functions for adversarial
    robustness". With alpha = 1 and beta = 0, it is SiLU.

    Args:
        **kwargs: arguments of `keras.layers.Layer`.

    Example:
        >>> keras.ops.convert_to_numpy(PSSiLU()(keras.ops.zeros((1,)))).tolist()
        [0.0]
    """

    def build(self, input_shape: Any) -> None:
        """Create alpha and beta, each of shape (1,)."""
        del input_shape
        self.alpha = self.add_weight((1,), "ones", name="alpha")
        almost_zero = keras.initializers.Constant(1e-8)
        self.beta = self.add_weight((1,), almost_zero, name="beta")

    def call(self, inputs: Any) -> Any:
        """Return the activations, of the same shape."""
        alpha, beta = keras.ops.abs(self.alpha), keras.ops.abs(self.beta)
        return inputs * (keras.ops.sigmoid(alpha * inputs) - beta) / (1 - beta)
