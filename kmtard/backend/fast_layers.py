"""Faster versions of Keras layers' methods, used only while our models compute.

A faster version computes the same numbers, up to rounding. The layers stay Keras's own
classes, also those of the user, so saved models need no code of kmtard. Outside
`fast_layers()`, and in other threads, every layer runs Keras's code.

Example:
    >>> from kmtard.backend.fast_layers import fast_layers
    >>> network = kmtard.networks.small_cnn(10, (8, 8, 1))
    >>> with fast_layers():
    ...     logits = network(keras.ops.ones((2, 8, 8, 1)))
    >>> logits.shape == (2, 10)
    True
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_fast: ContextVar[bool] = ContextVar("fast_layers", default=False)


@contextmanager
def fast_layers() -> Iterator[None]:
    """Run the faster versions inside the block, or inside a decorated function."""
    token = _fast.set(True)
    try:
        yield
    finally:
        _fast.reset(token)


def replace(layer: type, name: str, faster: Callable[..., Any]) -> None:
    """Run a faster version of a method inside `fast_layers()`.

    Args:
        layer: class of the layers. Subclasses that define the method keep their own.
        name: name of the method.
        faster: function that gets Keras's method, the layer and the arguments. It calls
            Keras's method for each case that it does not cover.
    """
    kept = getattr(layer, name)

    @functools.wraps(kept)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _fast.get():
            return faster(kept, self, *args, **kwargs)
        return kept(self, *args, **kwargs)

    setattr(layer, name, method)
