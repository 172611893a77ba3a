"""Variables of a method outside of its networks: scalars and numbers per class."""

from __future__ import annotations

import keras
from keras import ops

from kmtard.backend.types import Array, Tensor, Variable


def add_state(
    layer: keras.layers.Layer, name: str, value: Array, *, dtype: str | None = None
) -> Variable:
    """Add a variable that no optimizer updates and no dtype policy casts.

    Args:
        layer: the method or the addition that owns the variable.
        name: name of the variable.
        value: initial value, a number or an array.
        dtype: dtype of the variable. None for `keras.config.floatx()`, at least
            float32.
    """
    if dtype is None:
        dtype = "float64" if keras.config.floatx() == "float64" else "float32"
    return layer.add_weight(
        shape=getattr(value, "shape", ()),
        initializer=keras.initializers.Constant(value),
        dtype=dtype,
        trainable=False,
        autocast=False,
        name=name,
    )


def sum_by_class(sums: Variable, values: Tensor, y: Tensor) -> None:
    """Add the value of each image to the sum of its class.

    Args:
        sums: (classes,) variable.
        values: (batch,) values; no gradient flows through them.
        y: (batch,) integer labels.
    """
    values = ops.cast(ops.stop_gradient(values), sums.dtype)
    sums.assign_add(ops.matmul(values, ops.one_hot(y, sums.shape[0])))
