"""PyTorch: faster versions of single layers; see `fast_layers`.

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
    """Compute a convolution without copies of the images or the kernel."""
    if not is_plain(inputs) or layer.data_format != "channels_last":
        return convolution(layer, inputs, kernel)
    (top, bottom), (left, right) = _padding(layer, inputs.shape[1:3])
    padding = (top, left)
    if (bottom, right) != padding:
        inputs = functional.pad(inputs, (0, 0, left, right, top, bottom))
        padding = (0, 0)
    return _conv2d(layer, inputs, kernel, padding)


def can_pad(layer: Any, zeros: Any) -> bool:
    """Return whether `padded_convolution` replaces `layer(zeros(images))`.

    Args:
        layer: a `Conv2D`.
        zeros: a `ZeroPadding2D`.
    """
    formats = {layer.data_format, zeros.data_format}
    even = all(before == after for before, after in zeros.padding)
    return formats == {"channels_last"} and layer.padding == "valid" and even


def padded_convolution(layer: Any, zeros: Any, inputs: Any) -> Any:
    """Pad and convolve in one call, without a padded copy; see `can_pad`."""
    padding = tuple(before for before, _ in zeros.padding)
    outputs = _conv2d(layer, inputs, layer.kernel, padding)
    if layer.use_bias:
        outputs = outputs + _value(layer.bias, outputs)
    return outputs if layer.activation is None else layer.activation(outputs)


def _conv2d(layer: Any, inputs: Any, kernel: Any, padding: tuple[int, ...]) -> Any:
    kernel = _value(kernel, inputs)
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


def _padding(layer: Any, sizes: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the padding before and after the images, for each direction."""
    if layer.padding != "same":
        return [(0, 0), (0, 0)]
    found = []
    for size, kernel, stride, dilation in zip(
        sizes, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
    ):
        covered = (-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1
        missing = max(covered - size, 0)
        found.append((missing // 2, missing - missing // 2))
    return found


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
    plain = is_plain(inputs) and mask is None and not layer.renorm
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
    gamma = _value(layer.gamma, x) if layer.scale else None
    beta = _value(layer.beta, x) if layer.center else None
    mean, variance = _value(layer.moving_mean, x), _value(layer.moving_variance, x)
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


def _dense(call: Callable[..., Any], layer: Any, inputs: Any, **kwargs: Any) -> Any:
    if not is_single(inputs) or inputs.ndim != 2 or layer.quantization_mode:
        return call(layer, inputs, **kwargs)
    kernel = _value(layer.kernel, inputs)
    if layer.bias is None:
        outputs = inputs @ kernel
    else:
        outputs = torch.addmm(_value(layer.bias, inputs), inputs, kernel)
    return outputs if layer.activation is None else layer.activation(outputs)


def _relu(call: Callable[..., Any], layer: Any, inputs: Any) -> Any:
    changed = layer.negative_slope or layer.threshold or layer.max_value is not None
    if changed or not is_plain(inputs):
        return call(layer, inputs)
    return functional.relu(inputs)


def _zero_padding(call: Callable[..., Any], layer: Any, inputs: Any) -> Any:
    if layer.data_format != "channels_last" or not is_plain(inputs):
        return call(layer, inputs)
    (top, bottom), (left, right) = layer.padding
    return functional.pad(inputs, (0, 0, left, right, top, bottom))


def _flatten(call: Callable[..., Any], layer: Any, inputs: Any) -> Any:
    if layer.data_format != "channels_last" or not is_plain(inputs):
        return call(layer, inputs)
    return inputs.flatten(1) if inputs.ndim > 1 else call(layer, inputs)


def _global_average(call: Callable[..., Any], layer: Any, inputs: Any) -> Any:
    if layer.data_format != "channels_last" or not is_single(inputs):
        return call(layer, inputs)
    return inputs.mean((1, 2), keepdim=layer.keepdims)


def _add(call: Callable[..., Any], layer: Any, inputs: Any) -> Any:
    same = all(is_plain(x) and x.shape == inputs[0].shape for x in inputs)
    if not same:
        return call(layer, inputs)
    total = inputs[0]
    for x in inputs[1:]:
        total = total + x
    return total


def is_single(x: Any) -> bool:
    """Return whether these are float32 values without a mask."""
    return (
        is_plain(x)
        and x.dtype == torch.float32
        and getattr(x, "_keras_mask", None) is None
    )


def _value(variable: Any, like: Any) -> Any:
    """Return the tensor of a variable; `variable.value` looks into many scopes first.

    Where inputs and variable have the same dtype, as `like` has here, no mixed
    precision converts the variable.
    """
    stored = getattr(variable, "_value", None)
    if stored is None or stored.dtype != like.dtype:
        stored = keras.ops.convert_to_tensor(variable)
    return stored


def is_plain(inputs: Any) -> bool:
    """Return whether these are values, and not only shapes."""
    return isinstance(inputs, torch.Tensor) and inputs.device.type != "meta"


replace(keras.layers.Add, "call", _add)
replace(keras.layers.BatchNormalization, "call", _batch_norm)
replace(keras.layers.Conv2D, "convolution_op", _convolution)
replace(keras.layers.Dense, "call", _dense)
replace(keras.layers.Flatten, "call", _flatten)
replace(keras.layers.GlobalAveragePooling2D, "call", _global_average)
replace(keras.layers.ReLU, "call", _relu)
replace(keras.layers.ZeroPadding2D, "call", _zero_padding)
