"""Layers that all networks use, with PyTorch's padding, BatchNorm and initializers.

A layer of a published network is named after its keys in the public PyTorch weights,
with "-" in place of ".", because Keras on PyTorch allows no "." in a name. `convert`
relies on these names.
"""

from __future__ import annotations

from typing import Any

import keras

Shape = tuple[int, int, int]

DATA_FORMAT = "channels_last"
"""Passed to every layer, because the user's Keras default may be channels first."""

SQUEEZE_NAMES = ("-se-fc1", "-se-fc2")
"""Ends of the layer names of a squeeze-and-excitation, which have biases."""

SHORTEST = 1e-12  # smallest length that vectors are divided by


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
    """Apply a convolution without bias, padded by `size // 2` on all four sides.

    Args:
        x: (batch, height, width, channels).
        filters: number of output channels.
        size: side of the kernel, 1 or 3.
        strides: stride in both directions.
        name: name of the layer.
        initializer: initializer of the kernel; PyTorch's default if None.
        far_padding: if images have an even size and `strides` is 2, pad only the bottom
            and the right, as TensorFlow does.

    Returns:
        (batch, ceil(height / strides), ceil(width / strides), filters).
    """
    valid = size > 1 and strides > 1 and not far_padding
    if valid:
        # Keras pads only the bottom and the right for "same"; PyTorch pads all sides.
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
    """Apply BatchNorm with PyTorch's default epsilon and momentum."""
    layer = keras.layers.BatchNormalization(
        axis=-1, momentum=0.9, epsilon=1e-5, name=name
    )
    return layer(x)


def global_average(x: keras.KerasTensor) -> keras.KerasTensor:
    """Average each channel over the image; return (batch, channels)."""
    return keras.layers.GlobalAveragePooling2D(data_format=DATA_FORMAT)(x)


def dense_logits(
    x: keras.KerasTensor,
    num_classes: int,
    *,
    name: str | None = None,
    zero_bias: bool = False,
) -> keras.KerasTensor:
    """Apply the dense layer that returns the logits.

    Under a mixed dtype policy, it computes in float32.

    Args:
        x: (batch, features).
        num_classes: number of logits.
        name: name of the layer.
        zero_bias: initialize the bias to 0 instead of PyTorch's default.

    Returns:
        (batch, num_classes).
    """
    # PyTorch initializes the bias from the same interval as the kernel.
    bound = x.shape[-1] ** -0.5
    uniform = keras.initializers.RandomUniform(-bound, bound)
    return keras.layers.Dense(
        num_classes,
        kernel_initializer=kernel_initializer(),
        bias_initializer="zeros" if zero_bias else uniform,
        # In a mixed policy, variables have the wider dtype.
        dtype=keras.config.dtype_policy().variable_dtype,
        name=name,
    )(x)


@keras.saving.register_keras_serializable(package="kmtard")
class CosineLogits(keras.layers.Layer):
    """A dense layer that returns the cosines of features and class vectors.

    Features and kernel are divided by their length, and there is no bias, as in the
    hypersphere embedding of Pang et al. 2020 ("Boosting adversarial training").

    Args:
        units: number of logits.
        **kwargs: further arguments of `keras.layers.Layer`.

    Example:
        >>> logits = CosineLogits(10)(keras.ops.ones((2, 4)))
        >>> bool(abs(keras.ops.convert_to_numpy(logits)).max() <= 1 + 1e-6)
        True
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the kernel, (features, units)."""
        shape = (input_shape[-1], self.units)
        initializer = kernel_initializer()
        self.kernel = self.add_weight(shape, initializer, name="kernel")

    def call(self, inputs: Any) -> Any:
        """Return the cosines, (batch, units)."""
        # The lower bound is that of PyTorch's `normalize`.
        lengths = keras.ops.norm(inputs, axis=-1, keepdims=True)
        columns = keras.ops.norm(self.kernel, axis=0, keepdims=True)
        kernel = self.kernel / keras.ops.maximum(columns, SHORTEST)
        return keras.ops.matmul(inputs / keras.ops.maximum(lengths, SHORTEST), kernel)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the layer."""
        return {**super().get_config(), "units": self.units}


def squeeze_excitation(
    x: keras.KerasTensor, ratio: float, name: str
) -> keras.KerasTensor:
    """Scale each channel by a value in [0, 1] that depends on all channels' means.

    From Hu et al. 2018 ("Squeeze-and-excitation networks").

    Args:
        x: (batch, height, width, channels).
        ratio: channels of the inner layer, relative to those of `x`.
        name: beginning of the layers' names, the block's.
    """
    filters = x.shape[-1]
    pooling = keras.layers.GlobalAveragePooling2D(
        keepdims=True, data_format=DATA_FORMAT
    )
    scale = pooling(x)
    inner = round(ratio * filters)
    layers = ((inner, "relu"), (filters, "sigmoid"))
    for end, (size, activation) in zip(SQUEEZE_NAMES, layers, strict=True):
        scale = keras.layers.Conv2D(
            size,
            1,
            data_format=DATA_FORMAT,
            kernel_initializer=kernel_initializer(),
            activation=activation,
            name=f"{name}{end}",
        )(scale)
    return keras.layers.Multiply()([x, scale])


def check_shapes(num_classes: int, input_shape: Shape) -> None:
    """Check the number of classes and the image shape of a network.

    Raises:
        ValueError: `num_classes` is below 2, or `input_shape` is not three positive
            integers.
    """
    if num_classes < 2:
        raise ValueError(
            f"`num_classes` must be at least 2. Received: {num_classes!r}."
        )
    if len(input_shape) != 3 or not all(
        isinstance(size, int) and size > 0 for size in input_shape
    ):
        raise ValueError(
            "`input_shape` must be (height, width, channels), each a positive int. "
            f"Received: {input_shape!r}."
        )
