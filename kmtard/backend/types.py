"""Names for the arrays in public signatures.

The tensors of the backends have no common type, so each name is an alias of `Any`. It
tells the reader what is expected; a type checker does not use it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Tensor: TypeAlias = Any
"""A tensor of the active backend."""

Array: TypeAlias = Any
"""An array of any library: NumPy, JAX, TensorFlow or PyTorch."""

Labels: TypeAlias = Any
"""Integer class labels, one per image: a tensor or an array."""

Logits: TypeAlias = Any
"""Float tensor (batch, classes), before any softmax."""

Network: TypeAlias = Any
"""A `keras.Model` from images in [0, 1] to logits."""

Variable: TypeAlias = Any
"""A `keras.Variable`; its `value` is its current tensor."""
