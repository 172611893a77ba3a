"""Pre-activation ResNets, the students on Tiny-ImageNet (He et al. 2016, v2)."""

from __future__ import annotations

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


@checked
def preact_resnet18(
    num_classes: int,
    input_shape: Shape,
    *,
    mean: Mean = (),
    std: Std = (),
) -> keras.Model:
    """Return a PreActResNet-18, from images in [0, 1] to logits.

    11,269,640 parameters for 200 classes, beside 7,808 moving values.

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
    """Return a PreActResNet-34, from images in [0, 1] to logits.

    21,377,800 parameters for 200 classes, beside 15,232 moving values.

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
    stages = tuple(zip(WIDTHS, (3, 4, 6, 3), strict=True))
    return pre_activation_resnet(
        num_classes, input_shape, STYLE, WIDTHS[0], stages, mean=mean, std=std
    )
