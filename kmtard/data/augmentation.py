"""Random crops and mirror images of a whole batch at once."""

from __future__ import annotations

import tensorflow as tf


def augment(images: tf.Tensor, key: tf.Tensor, pad: int, flip: bool) -> tf.Tensor:
    """Crop from zero-padded images, then mirror, in one pass over the uint8 pixels.

    Args:
        images: uint8 `(batch, height, width, channels)`.
        key: int64 `(2,)`; it alone decides what is drawn.
        pad: Zero pixels put around an image before a crop of its own size.
        flip: Whether to mirror each image left to right with probability 1/2.

    Returns:
        Images of the same shape.
    """
    count, (height, width) = tf.shape(images)[0], images.shape[1:3]
    shift_key, flip_key = tf.unstack(tf.random.split(key))
    shifts = tf.random.stateless_uniform(
        [2, count], shift_key, minval=-pad, maxval=pad + 1, dtype=tf.int32
    )
    down, right = tf.unstack(tf.cast(shifts, tf.float32))
    mirrored = (tf.random.stateless_uniform([count], flip_key) < 0.5) & flip
    zero, one = tf.zeros_like(down), tf.ones_like(down)
    # Pixel (x, y) of the result is pixel (a x + b, y + down) of the image.
    a = tf.where(mirrored, -one, one)
    b = tf.where(mirrored, width - 1 + right, right)
    transforms = tf.stack([a, zero, b, zero, one, down, zero, zero], axis=1)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="NEAREST",
        fill_mode="CONSTANT",
    )
