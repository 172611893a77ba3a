"""The parameters of functions and classes, read from source without importing it."""

from __future__ import annotations

import ast
import copy
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from kmtard.registry.bounded import read_bounded
from kmtard.registry.modules import may_be_read, source_path

LARGEST = 2**20  # bytes; what is larger was not written by hand
Found: TypeAlias = tuple[ast.FunctionDef | ast.ClassDef, str, ast.Module]


@dataclass(frozen=True)
class Option:
    """A keyword-only parameter of a method, a network, an attack or a data set.

    Attributes:
        name: the parameter's name.
        annotation: its type as written in the source, empty if there is none.
        default: the default's value, or its source text where `literal` is false.
        required: whether there is no default.
        literal: whether `default` is a value; false also where `required` is true.
    """

    name: str
    annotation: str
    default: Any = None
    required: bool = False
    literal: bool = False


def definition(module: str, name: str) -> Found | None:
    """Find a function or class by its name in a module, or where that imports it.

    What it imports from the standard library or from installed packages is not sought.
    """
    path = source_path(module)
    if path is None:
        return None
    tree = _parsed(path, path.stat().st_mtime_ns)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node, module, tree
    origin = _imports(tree).names.get(name)
    return _followed(*origin, module) if origin else None


def _followed(module: str, name: str, reader: str) -> Found | None:
    """Find what another module, which was allowed to be read, refers to."""
    known = module == reader or may_be_read(module)
    return definition(module, name) if known else None


@functools.lru_cache(maxsize=256)
def _parsed(path: Path, changed: int) -> ast.Module:
    del changed
    return ast.parse(read_bounded(path, LARGEST), filename=str(path))


class _Imports(NamedTuple):
    """What a module imports: known as -> the module, or the module and its name."""

    modules: dict[str, str]
    names: dict[str, tuple[str, str]]


@functools.lru_cache(maxsize=256)
def _imports(tree: ast.Module) -> _Imports:
    found = _Imports({}, {})
    for each in ast.walk(tree):
        if isinstance(each, ast.Import):
            for alias in each.names:
                found.modules[alias.asname or alias.name] = alias.name
        elif isinstance(each, ast.ImportFrom) and each.module and not each.level:
            for alias in each.names:
                origin = each.module, alias.name
                found.names.setdefault(alias.asname or alias.name, origin)
    return found


def arguments_of(
    node: ast.FunctionDef | ast.ClassDef, module: str, tree: ast.Module
) -> ast.arguments | None:
    """Read the parameters of a function or of a class's `__init__`, `self` left out.

    Where those of a class end in `**kwargs`, the parameters of the first base class
    that has any are added.

    Returns:
        None for a class without an `__init__` in sight.
    """
    if isinstance(node, ast.FunctionDef):
        return node.args
    own = None
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            own = _without_self(member.args)
            if own.kwarg is None:
                return own
    modules = _imports(tree).modules
    for base in node.bases:
        owner, _, attribute = ast.unparse(base).rpartition(".")
        found = _followed(modules.get(owner, owner) or module, attribute, module)
        # A class may hide an imported base of its own name: that one is not sought.
        if found is not None and (found[0].name, found[1]) != (node.name, module):
            inherited = arguments_of(*found)
            if inherited is not None:
                return inherited if own is None else _joined(own, inherited)
    return own


def _without_self(given: ast.arguments) -> ast.arguments:
    bare = copy.copy(given)
    if bare.posonlyargs:
        bare.posonlyargs = bare.posonlyargs[1:]
    else:
        bare.args = bare.args[1:]
    return bare


def _joined(own: ast.arguments, inherited: ast.arguments | None) -> ast.arguments:
    """Add to a signature with `**kwargs` what these may be."""
    if inherited is None:
        return own
    known = {argument.arg for argument in own.args + own.kwonlyargs}
    pairs = zip(inherited.kwonlyargs, inherited.kw_defaults, strict=True)
    new = [pair for pair in pairs if pair[0].arg not in known]
    joined = copy.copy(own)
    joined.kwonlyargs = own.kwonlyargs + [argument for argument, _ in new]
    joined.kw_defaults = own.kw_defaults + [default for _, default in new]
    return joined


def summary_of(node: ast.FunctionDef | ast.ClassDef, tree: ast.Module) -> str:
    """Return the first line of the docstring of a class's module, or of a function."""
    owner = tree if isinstance(node, ast.ClassDef) else node
    text = ast.get_docstring(owner) or ast.get_docstring(node) or ""
    return text.partition("\n")[0]


def option(argument: ast.arg, default: ast.expr | None) -> Option:
    """Describe a keyword-only parameter."""
    annotation = ast.unparse(argument.annotation) if argument.annotation else ""
    if default is None:
        return Option(argument.arg, annotation, required=True)
    try:
        value = ast.literal_eval(default)
    except ValueError:
        return Option(argument.arg, annotation, default=ast.unparse(default))
    return Option(argument.arg, annotation, default=value, literal=True)
