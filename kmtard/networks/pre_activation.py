"""Residual networks with pre-activation blocks (He et al. 2016, v2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras

from kmtard.networks.blocks import (
    CosineLogits,
    Shape,
    check_shapes,
    convolution,
    dense_logits,
    global_average,
    he_initializer,
    kernel_initializer,
    normalization,
    squeeze_excitation,
)
from kmtard.networks.standardization import standardized
from kmtard.registry.ranges import Mean, Std, checked


@dataclass(frozen=True)
class Style:
    """The layer names and details in which published codes differ.

    Attributes:
        stem: layer name of the first convolution.
        block: layer name of a block, a format string with the fields `stage` (from 1)
            or `group` (from 0), and `block` (from 0).
        layers: layer names in a block: BatchNorm, convolution, BatchNorm, convolution.
        shortcut: layer name of the shortcut in a block that changes the width.
        last: layer name of the last BatchNorm; None if there is none, and the features
            are averaged without an activation.
        head: layer name of the dense layer.
        activation: Keras name of the activation, or a layer that all blocks share.
        raw_shortcut: whether a shortcut's convolution gets the input of the block;
            otherwise it gets the input after BatchNorm and activation.
        shortcut_size: side of the kernel of a shortcut's convolution.
        squeeze: channels of the squeeze-and-excitation at the end of each block,
            relative to the block's; 0 for none.
        unit_norm: whether the features and the kernel of the dense layer are divided by
            their length, and the dense layer has no bias.
        far_padding: whether strided 3x3 convolutions pad only the bottom and the right.
        he_normal: whether the initial kernels are drawn from N(0, sqrt(2/fan_out)) and
            the initial bias is 0; otherwise both have PyTorch's default.
    """

    stem: str
    block: str
    layers: tuple[str, str, str, str]
    shortcut: str
    last: str | None
    head: str
    activation: str | keras.layers.Layer = "relu"
    raw_shortcut: bool = False
    shortcut_size: int = 1
    squeeze: float = 0.0
    unit_norm: bool = False
    far_padding: bool = False
    he_normal: bool = False

    def convolve(
        self, x: keras.KerasTensor, filters: int, *args: int, name: str
    ) -> keras.KerasTensor:
        """Apply `blocks.convolution` with this style's padding and initializer."""
        return convolution(
            x,
            filters,
            *args,
            name=name,
            initializer=he_initializer() if self.he_normal else kernel_initializer(),
            far_padding=self.far_padding,
        )

    def activate(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """Apply BatchNorm, then the activation."""
        activation = self.activation
        if isinstance(activation, str):
            activation = keras.layers.Activation(activation)
        return activation(normalization(x, name))


@checked
def pre_activation_resnet(
    num_classes: int,
    input_shape: Shape,
    style: Style,
    stem: int,
    stages: Sequence[tuple[int, int]],
    *,
    mean: Mean = (),
    std: Std = (),
) -> keras.Model:
    """Pre-activation ResNet in the style of a published code.

    Args:
        num_classes: Number of logits, at least 2.
        input_shape: `(height, width, channels)` of an image.
        style: Layer names and details of the published code.
        stem: Channels of the first convolution.
        stages: (channels, blocks) for each stage; every stage but the first halves the
            height and width.
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
    x = style.convolve(standardized(images, mean, std), stem, name=style.stem)
    for group, (filters, blocks) in enumerate(stages):
        for block in range(blocks):
            name = style.block.format(group=group, stage=group + 1, block=block)
            x = _block(x, filters, 2 if group and not block else 1, name, style)
    x = global_average(x if style.last is None else style.activate(x, style.last))
    if style.unit_norm:
        return keras.Model(images, CosineLogits(num_classes, name=style.head)(x))
    logits = dense_logits(x, num_classes, name=style.head, zero_bias=style.he_normal)
    return keras.Model(images, logits)


def _block(
    x: keras.KerasTensor, filters: int, strides: int, name: str, style: Style
) -> keras.KerasTensor:
    norm1, conv1, norm2, conv2 = (f"{name}-{layer}" for layer in style.layers)
    active = style.activate(x, norm1)
    if strides > 1 or x.shape[-1] != filters:
        shortcut = f"{name}-{style.shortcut}"
        source, size = x if style.raw_shortcut else active, style.shortcut_size
        x = style.convolve(source, filters, size, strides, name=shortcut)
    active = style.convolve(active, filters, 3, strides, name=conv1)
    active = style.convolve(style.activate(active, norm2), filters, name=conv2)
    if style.squeeze:
        active = squeeze_excitation(active, style.squeeze, name)
    return keras.layers.Add()([active, x])
