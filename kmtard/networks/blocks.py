"""What the networks share: PyTorch's padding, normalisation and initial kernels.

The layers of a published network bear the keys of its public PyTorch weights, with "-"
for ".", which Keras on PyTorch cannot have in a name; `convert` reads them so.
"""

from __future__ import annotations

import keras

Shape = tuple[int, int, int]

DATA_FORMAT = "channels_last"
"""What each layer is told: a user's Keras may be set to channels first."""


def kernel_initializer() -> keras.initializers.Initializer:
    """Return PyTorch's default, U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


def he_initializer() -> keras.initializers.Initializer:
    """Return N(0, sqrt(2/fan_out)), not truncated (He et al. 2015)."""
    return keras.initializers.VarianceScaling(2, "fan_out", "untruncated_normal")


def convolution(
    x: keras.KerasTensor,
    filters: int,
    size: int = 3,
    strides: int = 1,
    *,
    name: str | None = None,
    initializer: keras.initializers.Initializer | None = None,
    far_padding: bool = False,
) -> keras.KerasTensor:
    """Convolve without bias, padded by `size // 2` on all four sides.

    Args:
        x: (batch, height, width, channels).
        filters: channels of the result.
        size: of the kernel, 1 or 3.
        strides: in both directions.
        name: of the layer.
        initializer: of the kernel; PyTorch's default if None.
        far_padding: with strides, pad an even size below and on the right only, as
            TensorFlow does.
    """
    valid = size > 1 and strides > 1 and not far_padding
    if valid:
        # Keras's "same" would pad the far sides only, PyTorch pads all four.
        x = keras.layers.ZeroPadding2D(size // 2, data_format=DATA_FORMAT)(x)
    return keras.layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding="valid" if valid else "same",
        data_format=DATA_FORMAT,
        use_bias=False,
        kernel_initializer=initializer or kernel_initializer(),
        name=name,
    )(x)


def normalization(x: keras.KerasTensor, name: str | None = None) -> keras.KerasTensor:
    """Apply BatchNorm with PyTorch's epsilon and momentum."""
    layer = keras.layers.BatchNormalization(
        axis=-1, momentum=0.9, epsilon=1e-5, name=name
    )
    return layer(x)


def global_average(x: keras.KerasTensor) -> keras.KerasTensor:
    """Average each channel over the image: (batch, channels)."""
    return keras.layers.GlobalAveragePooling2D(data_format=DATA_FORMAT)(x)


def dense_logits(
    x: keras.KerasTensor,
    num_classes: int,
    *,
    name: str | None = None,
    zero_bias: bool = False,
) -> keras.KerasTensor:
    """Apply the last layer, in float32 under a mixed dtype policy.

    Args:
        x: (batch, features).
        num_classes: number of logits.
        name: of the layer.
        zero_bias: start the bias at 0 and not as PyTorch does by default.
    """
    # PyTorch draws the bias from the same interval as the kernel.
    bound = x.shape[-1] ** -0.5
    uniform = keras.initializers.RandomUniform(-bound, bound)
    return keras.layers.Dense(
        num_classes,
        kernel_initializer=kernel_initializer(),
        bias_initializer="zeros" if zero_bias else uniform,
        # Of a mixed policy, the type of the variables is the wider one.
        dtype=keras.config.dtype_policy().variable_dtype,
        name=name,
    )(x)


def check_shapes(num_classes: int, input_shape: Shape) -> None:
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
