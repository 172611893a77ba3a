"""Find modules without importing them, and decide which ones a recipe may name.

A recipe may name three kinds of code: a module file under the working folder, a module
given by `--import` on the command line, and a package that declares the entry-point
group `kmtard.plugins`. The standard library and all other installed packages are
refused. Otherwise a recipe could name `subprocess:getoutput` and run any command.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from kmtard.registry.bounded import lies_within, working_folder
from kmtard.registry.errors import RegistryError

GROUP = "kmtard.plugins"
PACKAGES = ("kmtard", "launcher")
PACKAGE_FOLDERS = {"site-packages", "dist-packages"}
ACCEPTED = (
    "a module file under the working folder, a module given by --import, or a package "
    f"that declares the entry-point group {GROUP}"
)

_given: dict[str, None] = {}


def allow(module: str) -> None:
    """Accept a module and its submodules, as `--import` on the command line asks.

    Args:
        module: its name, such as `mypackage.networks`.

    Raises:
        RegistryError: the module does not exist, or it is part of the standard library
            or of kmtard.
    """
    if not all(part.isidentifier() for part in module.split(".")):
        raise RegistryError("the name of a module for --import", repr(module))
    _refuse_reserved(module)
    if _source(module) is None:
        raise _not_found(module)
    _given[module] = None


def import_allowed() -> None:
    """Import the modules given by `--import`, so that Keras knows their layers."""
    for module in _given:
        load(module)


def load(module: str) -> ModuleType:
    """Import a module that `find` accepts, from the file that `find` returned."""
    folder = working_folder()
    if folder is not None and str(folder) not in sys.path:
        sys.path.append(str(folder))  # at the end, so that it hides no other module
        importlib.invalidate_caches()
    return importlib.import_module(module)


def find(module: str) -> Path:
    """Return the source file of a module that a recipe may name.

    Args:
        module: name of one of the user's own modules.

    Raises:
        RegistryError: the module does not exist, may not be named, or has no Python
            source. The text says what to do.
    """
    _refuse_reserved(module)
    path = _source(module)
    if path is None:
        raise _not_found(module)
    if not (_is_in_working_folder(path) or _is_below(module, (*_given, *plugins()))):
        raise RegistryError(
            ACCEPTED,
            repr(module),
            reason=f"it is in {path}; start the command in the folder that holds it, "
            f"or give --import {module}",
        )
    if path.suffix != ".py":
        raise RegistryError(f"Python source of {module}", str(path))
    return path


def may_be_read(module: str) -> bool:
    """Return whether options may be read from a module that another module imports."""
    if _is_below(module, PACKAGES):
        return True
    try:
        find(module)
    except RegistryError:
        return False
    return True


def plugins() -> tuple[str, ...]:
    """Return the modules that installed packages declare as plugins.

    Packages that are merely in the working folder do not count, because unpacking an
    archive there does not install it.
    """
    folder = working_folder()
    path = [p for p in sys.path if p and not (folder and _same(p, folder))]
    return _plugins(tuple(path))


@functools.lru_cache(maxsize=8)
def _plugins(path: tuple[str, ...]) -> tuple[str, ...]:
    from importlib.metadata import distributions

    return tuple(
        entry.value.partition(":")[0].strip()
        for distribution in distributions(path=list(path))
        for entry in distribution.entry_points
        if entry.group == GROUP
    )


def source_path(module: str) -> Path | None:
    """Return the file of a module, or None if the module has no file.

    This does not use `importlib.util.find_spec` for dotted names, because that imports
    the parent packages.

    Example:
        >>> source_path("json.decoder").name
        'decoder.py'
    """
    top, *parts = module.split(".")
    spec = _top(top)
    for part in parts:
        if spec is None or spec.submodule_search_locations is None:
            return None
        locations = list(spec.submodule_search_locations)
        spec = PathFinder.find_spec(f"{spec.name}.{part}", locations)
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    return Path(spec.origin)


def _source(module: str) -> Path | None:
    try:
        return source_path(module)
    except (ImportError, OSError, ValueError):
        return None


def _top(name: str) -> ModuleSpec | None:
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a module without a spec, such as a script's __main__
        return None
    folder = working_folder()
    if folder is None or not (spec is None or spec.origin is None):
        return spec
    # Neither `kmtard` nor the launcher has the working folder on its `sys.path`.
    return PathFinder.find_spec(name, [*sys.path, str(folder)]) or spec


def _refuse_reserved(module: str) -> None:
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top == "__main__":
        reason = f"the module {top} is part of Python's standard library"
        raise RegistryError(ACCEPTED, repr(module), reason=reason)
    if top in PACKAGES:
        reason = f"a recipe must use the registered names of the parts of {top}"
        raise RegistryError(ACCEPTED, repr(module), reason=reason)


def _is_in_working_folder(path: Path) -> bool:
    folder = working_folder()
    # A virtual environment in the working folder contains installed packages.
    installed = not PACKAGE_FOLDERS.isdisjoint(Path(os.path.realpath(path)).parts)
    return folder is not None and lies_within(path, folder) and not installed


def _is_below(module: str, parents: tuple[str, ...]) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in parents)


def _same(one: str, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _not_found(module: str) -> RegistryError:
    top = module.partition(".")[0]
    return RegistryError(
        f"{module} to be a module that Python can find",
        repr(module),
        reason=f"it is neither installed nor under the working folder "
        f"{working_folder()}; start the command in the folder that holds {top}",
    )
