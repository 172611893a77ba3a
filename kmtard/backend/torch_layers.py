"""PyTorch: faster versions of single layers; see `fast_layers`.

Keras copies the images and the kernel of each convolution into another memory layout
at each call, and computes BatchNorm in six passes. Here, images and kernels stay in
PyTorch's channels-last layout, so that only their axes are renamed, and BatchNorm is
one call of PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import torch

# Keras has no public name for it.
from keras.src.backend.common.stateless_scope import in_stateless_scope
from torch.nn import functional

from kmtard.backend.fast_layers import are_weights_constant, replace

LAST = torch.channels_last


def _convolution(call: Callable[..., Any], layer: Any, inputs: Any, kernel: Any) -> Any:
    """Compute a convolution without copies of the images or the kernel."""
    if not is_plain(inputs) or layer.data_format != "channels_last":
        return call(layer, inputs, kernel)
    padding = _padding(layer, inputs.shape[1:3])
    weights = _weights(layer, _value(kernel, inputs.dtype))
    return _convolve(layer, inputs, weights, None, padding)


def can_convolve(layer: Any, zeros: Any, norm: Any) -> bool:
    """Return whether `convolution` can compute `norm(layer(zeros(images)))`.

    Args:
        layer: a `Conv2D`.
        zeros: a `ZeroPadding2D` before it, or None.
        norm: a `BatchNormalization` after it, or None.
    """
    possible = layer.data_format == "channels_last"
    if zeros is not None:
        even = all(before == after for before, after in zeros.padding)
        alone = layer.padding == "valid"
        possible = possible and zeros.data_format == "channels_last" and even and alone
    if norm is not None:
        last = norm.axis in (-1, 3) and not norm.renorm
        possible = possible and last and is_linear(layer)
    return possible


def is_linear(layer: Any) -> bool:
    """Return whether a layer has no activation."""
    return layer.activation in (None, keras.activations.linear)


def can_fold(inputs: Any) -> bool:
    """Return whether BatchNorm may be folded into the kernel before it.

    Folding runs without gradients, so the caller must not need those of weights. It was
    measured on a CPU only.
    """
    constant = are_weights_constant() or not torch.is_grad_enabled()
    return constant and inputs.device.type == "cpu"


def convolution(
    layer: Any, *, zeros: Any = None, norm: Any = None, rectify: bool = False
) -> tuple[Callable[[Any], Any], list[Any]]:
    """Return a function that pads, convolves, normalizes and rectifies in two calls.

    Args:
        layer: a `Conv2D` that computes in float32.
        zeros: as in `can_convolve`.
        norm: as in `can_convolve`, with its moving averages; see `can_fold`.
        rectify: whether to apply a ReLU to the outputs of a linear layer.

    Returns:
        The function, for float32 images (batch, height, width, channels) and the
        current weights. And the tensors that it was made from.
    """
    kernel = _value(layer.kernel)
    bias = _value(layer.bias) if layer.use_bias else None
    sources = [kernel, bias]
    if norm is None:
        weights, shift = _weights(layer, kernel), bias
    else:
        mean, variance = _value(norm.moving_mean), _value(norm.moving_variance)
        gamma = _value(norm.gamma) if norm.scale else None
        beta = _value(norm.beta) if norm.center else None
        sources += [mean, variance, gamma, beta]
        with torch.no_grad():
            scale = torch.rsqrt(variance + norm.epsilon)
            scale = scale if gamma is None else scale * gamma
            shift = -mean if bias is None else bias - mean
            shift = shift * scale if beta is None else torch.addcmul(beta, shift, scale)
            weights = _weights(layer, kernel) * scale.view(-1, 1, 1, 1)

    def convolved(inputs: Any) -> Any:
        if zeros is None:
            padding = _padding(layer, inputs.shape[1:3])
        else:
            padding = zeros.padding
        outputs = _convolve(layer, inputs, weights, shift, padding, rectify=rectify)
        return outputs if is_linear(layer) else layer.activation(outputs)

    return convolved, [each for each in sources if each is not None]


def _convolve(
    layer: Any,
    inputs: Any,
    weights: Any,
    bias: Any,
    padding: Sequence[tuple[int, int]],
    *,
    rectify: bool = False,
) -> Any:
    """Convolve with weights (filters, channels, height, width)."""
    (top, bottom), (left, right) = padding
    sides = (top, left)
    if (bottom, right) != sides:
        inputs = functional.pad(inputs, (0, 0, left, right, top, bottom))
        sides = (0, 0)
    outputs = functional.conv2d(
        inputs.permute(0, 3, 1, 2),
        weights,
        bias,
        layer.strides,
        sides,
        layer.dilation_rate,
        inputs.shape[3] // weights.shape[1],
    )
    if rectify:  # no gradient needs the outputs of a convolution
        outputs = outputs.relu_()
    return outputs.permute(0, 2, 3, 1)


def _weights(layer: Any, kernel: Any) -> Any:
    """Return the kernel as PyTorch's weights, without a copy."""
    weights = kernel.permute(3, 2, 0, 1)
    if not weights.is_contiguous(memory_format=LAST):
        _store_channels_last(layer)
    return weights


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
    outputs = None if mask is not None else normalized(layer, inputs, training)
    if outputs is None:
        return call(layer, inputs, training=training, mask=mask)
    return outputs


def normalized(
    layer: Any, inputs: Any, training: bool | None, *, rectify: bool = False
) -> Any:
    """Compute BatchNorm in one call, with the moving averages of Keras.

    Args:
        layer: a `BatchNormalization`.
        inputs: its inputs.
        training: whether it uses and averages the statistics of the batch.
        rectify: whether to apply a ReLU to the outputs.

    Returns:
        The outputs; None if Keras has to compute them.
    """
    rank = len(inputs.shape)
    axis = layer.axis % rank
    plain = is_plain(inputs) and not layer.renorm
    if not plain or axis not in (1, rank - 1) or inputs.dtype == torch.float64:
        return None
    learning = training and layer.trainable
    count = inputs.numel() // inputs.shape[axis]
    if learning and count == 1:
        return None
    # As in Keras, half precision is computed in float32.
    x = inputs.float()
    if axis > 1:
        x = x.movedim(axis, 1)
    gamma = _value(layer.gamma) if layer.scale else None
    beta = _value(layer.beta) if layer.center else None
    mean, variance = _value(layer.moving_mean), _value(layer.moving_variance)
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
    if rectify:  # no gradient needs the outputs of BatchNorm
        x = x.relu_()
    if axis > 1:
        x = x.movedim(1, axis)
    return keras.ops.cast(x, layer.compute_dtype)


def _dense(call: Callable[..., Any], layer: Any, inputs: Any, **kwargs: Any) -> Any:
    if not is_single(inputs) or inputs.ndim != 2 or layer.quantization_mode:
        return call(layer, inputs, **kwargs)
    kernel = _value(layer.kernel)
    if layer.bias is None:
        outputs = inputs @ kernel
    else:
        outputs = torch.addmm(_value(layer.bias), inputs, kernel)
    return outputs if layer.activation is None else layer.activation(outputs)


def _relu(call: Callable[..., Any], layer: Any, inputs: Any) -> Any:
    if not is_relu(layer) or not is_plain(inputs):
        return call(layer, inputs)
    return functional.relu(inputs)


def is_relu(layer: Any) -> bool:
    """Return whether a `ReLU` layer has only default settings."""
    changed = layer.negative_slope or layer.threshold or layer.max_value is not None
    return not changed


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
    outputs = added(inputs)
    return call(layer, inputs) if outputs is None else outputs


def added(inputs: Any, *, rectify: bool = False) -> Any:
    """Return the sum of several tensors of one shape; None for others.

    Args:
        inputs: the tensors.
        rectify: whether to apply a ReLU to the outputs.
    """
    same = all(is_plain(x) and x.shape == inputs[0].shape for x in inputs)
    if not same or len(inputs) < 2:
        return None
    total = inputs[0] + inputs[1]
    for x in inputs[2:]:
        total = total + x
    return total.relu_() if rectify else total


def is_single(x: Any) -> bool:
    """Return whether these are float32 values without a mask."""
    return (
        is_plain(x)
        and x.dtype == torch.float32
        and getattr(x, "_keras_mask", None) is None
    )


def _value(variable: Any, dtype: Any = torch.float32) -> Any:
    """Return the tensor of a variable; `variable.value` looks into many scopes first.

    Where inputs and variable have the same dtype, no mixed precision converts the
    variable.

    Args:
        variable: the variable.
        dtype: dtype of the inputs.
    """
    stored = getattr(variable, "_value", None)
    if stored is None or stored.dtype != dtype or in_stateless_scope():
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
