"""Every key of every screen, for who wants to change them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

from textual.binding import Binding
from textual.dom import DOMNode

import launcher.app
import launcher.screens


def all_bindings() -> dict[str, Binding]:
    """Return the bindings of the app and its screens by id, all keys of each."""
    for module in iter_modules(launcher.screens.__path__, "launcher.screens."):
        import_module(module.name)
    found: dict[str, Binding] = {}
    for node in _subclasses(DOMNode):
        if node.__module__.startswith("launcher."):
            for binding in Binding.make_bindings(node.__dict__.get("BINDINGS", ())):
                if binding.id:
                    known = found.setdefault(binding.id, binding)
                    if binding.key not in known.key.split(","):
                        keys = f"{known.key},{binding.key}"
                        found[binding.id] = known.with_key(keys)
    return dict(sorted(found.items()))


def _subclasses(kind: type[DOMNode]) -> Iterator[type[DOMNode]]:
    for child in kind.__subclasses__():
        yield child
        yield from _subclasses(child)
