"""Residual networks that normalise and activate first (He et al. 2016, v2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Style:
    """What sets one published code apart from another.

    Attributes:
        stem: layer name of the first convolution.
        block: layer name of a block, with fields `stage` (from 1) and `block` (from 0),
            or `group` (from 0) instead of `stage`.
        layers: of a block: normalisation, convolution, normalisation, convolution.
        shortcut: of a block that changes the width.
        last: name of the last normalisation.
        head: name of the dense layer.
        activation: Keras's name of it.
        far_padding: pad strided 3x3 convolutions on the far sides only.
        he_normal: start the kernels from N(0, sqrt(2/fan_out)) and the bias from 0, not
            from PyTorch's default.
    """

    stem: str
    block: str
    layers: tuple[str, str, str, str]
    shortcut: str
    last: str
    head: str
    activation: str = "relu"
    far_padding: bool = False
    he_normal: bool = False

    def convolve(
        self, x: keras.KerasTensor, filters: int, *args: int, name: str
    ) -> keras.KerasTensor:
        """Convolve as `blocks.convolution`, padded and started as in this style."""
        return convolution(
            x,
            filters,
            *args,
            name=name,
            initializer=he_initializer() if self.he_normal else kernel_initializer(),
            far_padding=self.far_padding,
        )

    def activate(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """Normalise, then activate."""
        return keras.layers.Activation(self.activation)(normalization(x, name))


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
    """Return a network from images in [0, 1] to logits.

    Args:
        num_classes: Number of logits, at least 2.
        input_shape: `(height, width, channels)` of an image.
        style: Of the published code.
        stem: Channels of the first convolution.
        stages: (channels, blocks) of each; all but the first halve the size.
        mean: Subtracted from each channel of the images: values, or "cifar10",
            "cifar100", "tiny_imagenet" or "2x-1", which stands for `std` too; () or
            None for none.
        std: Then divides each channel; as `mean`.

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
    x = global_average(style.activate(x, style.last))
    logits = dense_logits(x, num_classes, name=style.head, zero_bias=style.he_normal)
    return keras.Model(images, logits)


def _block(
    x: keras.KerasTensor, filters: int, strides: int, name: str, style: Style
) -> keras.KerasTensor:
    norm1, conv1, norm2, conv2 = (f"{name}-{layer}" for layer in style.layers)
    active = style.activate(x, norm1)
    if strides > 1 or x.shape[-1] != filters:
        shortcut = f"{name}-{style.shortcut}"
        x = style.convolve(active, filters, 1, strides, name=shortcut)
    active = style.convolve(active, filters, 3, strides, name=conv1)
    active = style.activate(active, norm2)
    return keras.layers.Add()([style.convolve(active, filters, name=conv2), x])
