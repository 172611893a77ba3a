"""Callbacks that come while their screen or widget is being removed."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar, cast

from textual.css.query import NoMatches
from textual.widget import Widget

Method = TypeVar("Method", bound=Callable[..., Any])


def is_open(node: Widget) -> bool:
    """Return whether a screen or widget is mounted and not being removed."""
    # Textual's own signals ask the same before they call a node.
    return node.is_running and node.is_attached and not node._pruning


def while_open(method: Method) -> Method:
    """Skip a method of a screen or widget that is being removed.

    Timers, messages of workers and `call_after_refresh` may still call a node whose
    children are already gone. They may also go between two steps of an async method,
    which then ends.
    """

    @wraps(method)
    def call(self: Widget, *args: Any) -> Any:
        with _unless_closing(self):
            return method(self, *args) if is_open(self) else None

    @wraps(method)
    async def call_async(self: Widget, *args: Any) -> Any:
        with _unless_closing(self):
            return (
                await cast(Awaitable[Any], method(self, *args))
                if is_open(self)
                else None
            )

    return cast(Method, call_async if iscoroutinefunction(method) else call)


@contextlib.contextmanager
def _unless_closing(node: Widget) -> Iterator[None]:
    try:
        yield
    except NoMatches:
        if is_open(node):
            raise
