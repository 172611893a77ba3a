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
_constant: ContextVar[bool] = ContextVar("without_gradients_of_weights", default=False)
_kept: ContextVar[dict[Any, Any] | None] = ContextVar("kept", default=None)


@contextmanager
def fast_layers() -> Iterator[None]:
    """Run the faster versions inside the block, or inside a decorated function."""
    with _Set(_fast, True):
        yield


@contextmanager
def without_gradients_of_weights() -> Iterator[None]:
    """Promise that no gradient of a weight is needed inside the block.

    Such gradients may be missing.
    """
    with _Set(_constant, True):
        yield


def are_weights_constant() -> bool:
    """Return whether the caller is inside `without_gradients_of_weights()`."""
    return _constant.get()


@contextmanager
def keep_derived() -> Iterator[None]:
    """Reuse what is computed from weights alone until the block ends."""
    # A block inside a block shares what the outer one keeps.
    with _Set(_kept, {} if _kept.get() is None else _kept.get()):
        yield


def derived() -> dict[Any, Any] | None:
    """Return what is kept inside `keep_derived()`; None outside."""
    return _kept.get()


class _Set:
    """Set a context variable inside a block; faster than a generator."""

    def __init__(self, variable: ContextVar[Any], value: Any) -> None:
        self._variable, self._value = variable, value

    def __enter__(self) -> None:
        self._token = self._variable.set(self._value)

    def __exit__(self, *error: object) -> None:
        self._variable.reset(self._token)


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
