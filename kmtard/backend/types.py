"""Names for the arrays in public signatures.

Keras has no type that the tensors of all backends share, so each name stands for
`Any`: it tells a reader what is expected, and a type checker nothing.
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
