"""The networks of `keras.applications`, with their preprocessing inside."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kmtard.networks.blocks import Shape, check_shapes, dense_logits
from kmtard.networks.standardization import standardized
from kmtard.registry.ranges import checked

# What each family takes; all others take [-1, 1].
OF_BYTES = ("ConvNeXt", "EfficientNet", "MobileNetV3")
OF_IMAGENET = ("DenseNet",)
OF_CAFFE = ("ResNet50", "ResNet101", "ResNet152", "VGG16", "VGG19")

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Subtracted from red, green and blue in [0, 255].
CAFFE_MEAN = (123.68, 116.779, 103.939)


@checked
def application(
    num_classes: int,
    input_shape: Shape,
    name: str,
    *,
    pretrained: bool = False,
) -> keras.Model:
    """Return a network of `keras.applications` for images in [0, 1].

    Its preprocessing is a part of the network. The classes of ImageNet are replaced by
    a new dense layer.

    Args:
        num_classes: Number of logits, at least 2.
        input_shape: `(height, width, channels)` of an image; most networks need at
            least 32 x 32 pixels, some 75 x 75.
        name: Name in `keras.applications`, such as "MobileNetV2".
        pretrained: Whether to start from Keras's weights for ImageNet, which are
            downloaded once; the images must then have 3 channels.

    Returns:
        A Keras model from images in [0, 1] to logits.

    Raises:
        ValueError: An argument is out of its range, the images are too small, or the
            weights cannot be downloaded.
    """
    check_shapes(num_classes, input_shape)
    make = getattr(keras.applications, name)
    try:
        base = make(
            include_top=False,
            weights="imagenet" if pretrained else None,
            input_shape=tuple(input_shape),
            pooling="avg",
        )
    except Exception as error:
        # Keras raises a bare Exception if a download fails.
        if not pretrained or isinstance(error, (TypeError, ValueError)):
            raise
        raise ValueError(
            f"The weights of {name} for ImageNet cannot be downloaded: {error}. Set "
            "pretrained = false, or download them on a machine with internet access "
            "and copy ~/.keras/models."
        ) from error
    images = keras.Input(input_shape)
    features = base(_preprocessed(images, name))
    return keras.Model(images, dense_logits(features, num_classes), name=base.name)


def _preprocessed(images: keras.KerasTensor, name: str) -> Any:
    """Return what the network takes, computed from images in [0, 1]."""
    if name.startswith(OF_BYTES):
        return keras.layers.Rescaling(255.0)(images)
    channels = images.shape[-1]
    if name.startswith(OF_IMAGENET) and channels == 3:
        return standardized(images, IMAGENET_MEAN, IMAGENET_STD)
    if name in OF_CAFFE and channels == 3:
        offset = [-mean for mean in CAFFE_MEAN]
        shifted = keras.layers.Rescaling([[[255.0] * 3]], [[offset]])(images)
        return ops.flip(shifted, axis=-1)  # blue, green, red
    return standardized(images, "2x-1", None)
