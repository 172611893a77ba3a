"""Arrays that NumPy and TensorFlow share, so that images lie in memory once."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

# What TensorFlow wants of an address: it ends the process over any other.
_ALIGNMENT = 64


def take(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return `array[rows]` at an address that `as_tensor` can use in place.

    Args:
        array: Any shape `(count, ...)`.
        rows: Row numbers in `[0, count)`, any integer dtype `(n,)`.
    """
    shape = (len(rows), *array.shape[1:])
    size = int(np.prod(shape)) * array.dtype.itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    taken = memory[start : start + size].view(array.dtype).reshape(shape)
    # Any mode but this would first gather into a buffer of the same size.
    return np.take(array, rows, axis=0, out=taken, mode="clip")


def as_tensor(array: np.ndarray) -> tf.Tensor:
    """Return a CPU tensor over the array's own memory.

    It is a copy where TensorFlow cannot use that memory: where it is read-only,
    scattered, or at an address not aligned.
    """
    usable = array.flags.c_contiguous and array.flags.writeable
    if not usable or array.ctypes.data % _ALIGNMENT:
        with tf.device("CPU:0"):
            return tf.constant(array)
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
