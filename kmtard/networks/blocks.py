"""What the networks share: PyTorch's padding, normalisation and initial kernels."""

from __future__ import annotations

import keras


def kernel_initializer() -> keras.initializers.Initializer:
    """Return PyTorch's default, U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


def convolution(
    x: keras.KerasTensor, filters: int, size: int = 3, strides: int = 1
) -> keras.KerasTensor:
    """Convolve without bias, padded by `size // 2` on all four sides.

    Args:
        x: (batch, height, width, channels).
        filters: channels of the result.
        size: of the kernel, 1 or 3.
        strides: in both directions.
    """
    if size > 1 and strides > 1:
        # Keras's "same" would pad the far sides only, PyTorch pads all four.
        x = keras.layers.ZeroPadding2D(size // 2)(x)
    return keras.layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding="same" if strides == 1 else "valid",
        use_bias=False,
        kernel_initializer=kernel_initializer(),
    )(x)


def normalization(x: keras.KerasTensor) -> keras.KerasTensor:
    """Apply BatchNorm with PyTorch's epsilon and momentum."""
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)


def dense_logits(x: keras.KerasTensor, num_classes: int) -> keras.KerasTensor:
    """Apply the last layer, in float32 under a mixed dtype policy."""
    # PyTorch draws the bias from the same interval as the kernel.
    bound = x.shape[-1] ** -0.5
    return keras.layers.Dense(
        num_classes,
        kernel_initializer=kernel_initializer(),
        bias_initializer=keras.initializers.RandomUniform(-bound, bound),
        # Of a mixed policy, the type of the variables is the wider one.
        dtype=keras.config.dtype_policy().variable_dtype,
    )(x)


def check_shapes(num_classes: int, input_shape: tuple[int, int, int]) -> None:
    """Refuse a number of classes or an image shape that no network can have.

    Raises:
        ValueError: with what was received.
    """
    if num_classes < 2:
        raise ValueError(f"`num_classes` must be at least 2. Received: {num_classes}.")
    if len(input_shape) != 3 or not all(
        isinstance(size, int) and size > 0 for size in input_shape
    ):
        raise ValueError(
            "`input_shape` must be (height, width, channels), each a positive int. "
            f"Received: {input_shape}."
        )
