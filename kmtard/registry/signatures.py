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

LARGEST = 2**20  # bytes; larger files are not written by hand
Found: TypeAlias = tuple[ast.FunctionDef | ast.ClassDef, str, ast.Module]


@dataclass(frozen=True)
class Option:
    """A keyword-only parameter of a method, a network, an attack or a data set.

    Attributes:
        name: the parameter's name.
        annotation: the type as written in the source; empty if there is none.
        default: the default value if `literal` is true, else its source text.
        required: whether the parameter has no default.
        literal: whether `default` is a value; false if `required` is true.
    """

    name: str
    annotation: str
    default: Any = None
    required: bool = False
    literal: bool = False


def definition(module: str, name: str) -> Found | None:
    """Find a function or class by name in a module, following its imports.

    Imports from the standard library and from installed packages are not followed.

    Returns:
        The definition, the name of the module that holds it, and that module's syntax
        tree; None if there is no such definition.
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
    """Find a definition in another module, if that module may be read."""
    known = module == reader or may_be_read(module)
    return definition(module, name) if known else None


@functools.lru_cache(maxsize=256)
def _parsed(path: Path, changed: int) -> ast.Module:
    del changed
    return ast.parse(read_bounded(path, LARGEST), filename=str(path))


class _Imports(NamedTuple):
    """A module's imports: local name -> module, or module and name there."""

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
    """Read the parameters of a function or of a class's `__init__`, without `self`.

    If the parameters of a class end in `**kwargs`, those of the first base class with
    parameters are added.

    Returns:
        The parameters; None for a class where no `__init__` can be found.
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
        # A class may have the same name as its imported base. Looking up that name
        # finds the class itself, which would recurse forever.
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
    """Add to a signature with `**kwargs` the inherited keyword-only parameters."""
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
    """Return the first docstring line of a function, or of the module of a class."""
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
