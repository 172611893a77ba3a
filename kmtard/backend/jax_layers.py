"""Faster convolutions for JAX on a CPU, where XLA is slow at some of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import keras

from kmtard.backend.fast_layers import replace

FEW_CHANNELS = 3
"""Largest number of channels of an image in `_of_few_channels`."""

FEW_FILTERS = 32
"""Up to this number of filters, a sum of products is the fastest convolution."""


def _convolution(
    convolution: Callable[..., Any], layer: Any, inputs: Any, kernel: Any
) -> Any:
    """Compute a convolution in the way that is the fastest on a CPU.

    - 1x1 kernels: a matrix product. XLA computes the gradient of the kernel 2 to 8
      times as fast then. For larger kernels, a sum of shifted matrix products was not
      faster than XLA.
    - images with few channels: see `_of_few_channels`.
    """
    plain = (
        layer.groups == 1
        and layer.data_format == "channels_last"
        and jax.default_backend() == "cpu"
    )
    pointwise = layer.kernel_size == (1, 1)
    few = (
        inputs.shape[-1] <= FEW_CHANNELS
        and max(layer.kernel_size) <= 5
        and layer.dilation_rate == (1, 1)
        and layer.padding in ("same", "valid")
    )
    if not (plain and (pointwise or few)):
        return convolution(layer, inputs, kernel)
    kernel = keras.ops.convert_to_tensor(kernel)
    inputs = keras.ops.convert_to_tensor(inputs, kernel.dtype)
    if pointwise:
        down, right = layer.strides
        return keras.ops.matmul(inputs[:, ::down, ::right], kernel[0, 0])
    if jnp.finfo(kernel.dtype).bits < 32:
        # A sum in half precision would round more than XLA's.
        return convolution(layer, inputs, kernel)
    return _of_few_channels(inputs, kernel, layer.strides, layer.padding.upper())


def _xla(x: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=layout
    )


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _of_few_channels(
    x: Any, kernel: Any, strides: tuple[int, int], padding: str
) -> Any:
    """Convolve images with at most `FEW_CHANNELS` channels, such as a network's input.

    XLA computes the gradient of such images 2 to 5 times as slowly as a matrix product
    does. With few filters, it computes the convolution itself up to 10 times as slowly
    as a sum of products. The gradient of the kernel is XLA's.

    The rule below is for tangents instead of gradients, so that forward mode works too.
    """
    return _convolved(x, kernel, strides, padding)


def _tangent(
    strides: tuple[int, int], padding: str, primals: tuple, tangents: tuple
) -> tuple[Any, Any]:
    (x, kernel), (x_dot, kernel_dot) = primals, tangents
    outputs = _of_few_channels(x, kernel, strides, padding)
    parts = []
    if not _is_zero(x_dot):
        columns = jnp.concatenate(_shifts(x_dot, kernel, strides, padding), axis=-1)
        parts.append(columns @ kernel.reshape(-1, kernel.shape[-1]))
    if not _is_zero(kernel_dot):
        parts.append(_xla(x, kernel_dot, strides, padding))
    return outputs, sum(parts) if parts else jnp.zeros_like(outputs)


_of_few_channels.defjvp(_tangent, symbolic_zeros=True)


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, jax.custom_derivatives.SymbolicZero)


def _convolved(x: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    height, width, channels, filters = kernel.shape
    if filters > FEW_FILTERS or height * width > 9:
        return _xla(x, kernel, strides, padding)
    products = [
        shift[..., channel, None] * row[channel]
        for shift, row in zip(
            _shifts(x, kernel, strides, padding),
            kernel.reshape(height * width, channels, filters),
            strict=True,
        )
        for channel in range(channels)
    ]
    return sum(products)


def _shifts(x: Any, kernel: Any, strides: tuple[int, int], padding: str) -> list[Any]:
    """Return the part of the images that each entry of the kernel meets."""
    size = kernel.shape[:2]
    pads = jax.lax.padtype_to_pads(x.shape[1:3], size, strides, padding)
    # Without a barrier, XLA computes what made `x` anew for each shift.
    x = jax.lax.optimization_barrier(jnp.pad(x, ((0, 0), *pads, (0, 0))))
    lasts = [
        (extent - length) // stride * stride + 1
        for extent, length, stride in zip(x.shape[1:3], size, strides, strict=True)
    ]
    return [
        x[:, i : i + lasts[0] : strides[0], j : j + lasts[1] : strides[1]]
        for i in range(size[0])
        for j in range(size[1])
    ]


replace(keras.layers.Conv2D, "convolution_op", _convolution)
