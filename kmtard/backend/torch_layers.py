"""PyTorch: faster convolutions and BatchNorm; see `fast_layers`.

Keras copies the images and the kernel of each convolution into another memory layout
at each call, and computes BatchNorm in six passes. Here, images and kernels stay in
PyTorch's channels-last layout, so that only their axes are renamed, and BatchNorm is
one call of PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import torch
from torch.nn import functional

from kmtard.backend.fast_layers import replace

LAST = torch.channels_last


def _convolution(
    convolution: Callable[..., Any], layer: Any, inputs: Any, kernel: Any
) -> Any:
    """Compute a convolution without copies, unless its padding is uneven."""
    if not _is_plain(inputs) or layer.data_format != "channels_last":
        return convolution(layer, inputs, kernel)
    padding = _padding(layer, inputs.shape[1:3])
    if padding is None:
        return convolution(layer, inputs, kernel)
    kernel = keras.ops.convert_to_tensor(kernel)
    permuted = kernel.permute(3, 2, 0, 1)
    if not permuted.is_contiguous(memory_format=LAST):
        _store_channels_last(layer)
    outputs = functional.conv2d(
        inputs.permute(0, 3, 1, 2),
        permuted,
        None,
        layer.strides,
        padding,
        layer.dilation_rate,
        inputs.shape[3] // kernel.shape[2],
    )
    return outputs.permute(0, 2, 3, 1)


def _padding(layer: Any, sizes: tuple[int, int]) -> tuple[int, ...] | None:
    """Return the padding of each side; None if opposite sides differ."""
    if layer.padding != "same":
        return (0, 0)
    found = []
    for size, kernel, stride, dilation in zip(
        sizes, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
    ):
        covered = (-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1
        half, rest = divmod(max(covered - size, 0), 2)
        if rest:
            return None
        found.append(half)
    return tuple(found)


def _store_channels_last(layer: Any) -> None:
    """Store the kernel in PyTorch's layout; its shape and its values stay the same."""
    stored = layer._kernel._value
    if stored is not None:
        permuted = stored.data.permute(3, 2, 0, 1).contiguous(memory_format=LAST)
        stored.data = permuted.permute(2, 3, 1, 0)


def _batch_norm(
    call: Callable[..., Any],
    layer: Any,
    inputs: Any,
    training: bool | None = None,
    mask: Any = None,
) -> Any:
    """Compute BatchNorm in one call, with the moving averages of Keras."""
    rank = len(inputs.shape)
    axis = layer.axis % rank
    plain = _is_plain(inputs) and mask is None and not layer.renorm
    if not plain or axis not in (1, rank - 1) or inputs.dtype == torch.float64:
        return call(layer, inputs, training=training, mask=mask)
    learning = training and layer.trainable
    count = inputs.numel() // inputs.shape[axis]
    if learning and count == 1:
        return call(layer, inputs, training=training, mask=mask)
    # As in Keras, half precision is computed in float32.
    x = inputs.float()
    if axis > 1:
        x = x.movedim(axis, 1)
    gamma = layer.gamma.value if layer.scale else None
    beta = layer.beta.value if layer.center else None
    mean, variance = layer.moving_mean.value, layer.moving_variance.value
    if learning:
        # PyTorch writes the statistics of the batch here, with the unbiased variance.
        batch_mean, unbiased = torch.zeros_like(mean), torch.zeros_like(variance)
        x = functional.batch_norm(
            x, batch_mean, unbiased, gamma, beta, True, 1.0, layer.epsilon
        )
        biased = unbiased * ((count - 1) / count)
        for variable, old, new in (
            (layer.moving_mean, mean, batch_mean),
            (layer.moving_variance, variance, biased),
        ):
            momentum = layer.momentum
            variable.assign(old * momentum + new * (1.0 - momentum))
    else:
        x = functional.batch_norm(
            x, mean, variance, gamma, beta, False, 0.0, layer.epsilon
        )
    if axis > 1:
        x = x.movedim(1, axis)
    return keras.ops.cast(x, layer.compute_dtype)


def _is_plain(inputs: Any) -> bool:
    """Return whether these are values, and not only shapes."""
    return isinstance(inputs, torch.Tensor) and inputs.device.type != "meta"


replace(keras.layers.Conv2D, "convolution_op", _convolution)
replace(keras.layers.BatchNormalization, "call", _batch_norm)
