"""The parameters of functions and classes, read from source without importing it."""

from __future__ import annotations

import ast
import copy
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, Union

from annotated_types import Interval

from kmtard.registry import ranges
from kmtard.registry.bounded import read_bounded
from kmtard.registry.modules import may_be_read, source_path

ENTRY = re.compile(r"    (\*{0,2}\w+): (.*)")
LEAVES: dict[str, Any] = {"float": float, "int": int, "bool": bool, "str": str}
LARGEST = 2**20  # bytes; larger files are not written by hand
Found: TypeAlias = tuple[ast.FunctionDef | ast.ClassDef, str, ast.Module]


@dataclass(frozen=True)
class Option:
    """A keyword-only parameter of a method, a network, an attack or a data set.

    Attributes:
        name: the parameter's name.
        annotation: the type as written in the source; empty without an annotation.
        default: the default value if `literal` is true, else its source text.
        required: whether the parameter has no default.
        literal: whether `default` is a value; false if `required` is true.
        hint: the type as an object if `ranges` can check it; otherwise Any.
    """

    name: str
    annotation: str
    default: Any = None
    required: bool = False
    literal: bool = False
    hint: Any = Any


def definition(module: str, name: str) -> Found | None:
    """Find a function or class by name in a module, following its imports.

    Imports from the standard library and from installed packages are not followed.

    Returns:
        The definition, the name of the module that contains it, and that module's
        syntax tree; None if there is no such definition.

    Example:
        >>> definition("kmtard.balance", "entropy_balance")[1]
        'kmtard.balance'
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
    """Return a file's syntax tree; of functions, only docstrings and imports."""
    del changed
    tree = ast.parse(read_bounded(path, LARGEST), filename=str(path))
    # The rest of the functions, which nothing here reads, is most of the tree.
    functions = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)]
    for function in functions:
        documented = ast.get_docstring(function, clean=False) is not None
        function.body = [
            *(function.body[:1] if documented else ()),
            *(
                each
                for line in function.body
                for each in ast.walk(line)
                if isinstance(each, ast.Import | ast.ImportFrom)
            ),
        ]
    return tree


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
        return _marked(node.args, tree)
    own = None
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            own = _marked(_without_self(member.args), tree)
            if own.kwarg is None:
                return own
    for found in _bases(node, module, tree):
        inherited = arguments_of(*found)
        if inherited is not None:
            return inherited if own is None else _joined(own, inherited)
    return own


def _bases(node: ast.ClassDef, module: str, tree: ast.Module) -> Iterator[Found]:
    modules = _imports(tree).modules
    for base in node.bases:
        owner, _, attribute = ast.unparse(base).rpartition(".")
        found = _followed(modules.get(owner, owner) or module, attribute, module)
        # A class may have the same name as its imported base. Looking up that name
        # finds the class itself, which would recurse forever.
        if found is not None and (found[0].name, found[1]) != (node.name, module):
            yield found


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


def _marked(given: ast.arguments, tree: ast.Module) -> ast.arguments:
    """Return keyword-only parameters with the full names of the types in `ranges`.

    A class can inherit parameters from modules that import these types under other
    names.
    """
    marked = copy.copy(given)
    marked.kwonlyargs = [_marked_one(each, tree) for each in given.kwonlyargs]
    return marked


@functools.lru_cache(maxsize=1024)
def _marked_one(given: ast.arg, tree: ast.Module) -> ast.arg:
    marked: ast.arg = _Marker(_imports(tree).names).visit(copy.deepcopy(given))
    return marked


class _Marker(ast.NodeTransformer):
    def __init__(self, names: dict[str, tuple[str, str]]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        module, name = self.names.get(node.id, ("", ""))
        return ast.Name(f"{module}.{name}") if module == ranges.__name__ else node


def meanings_of(
    node: ast.FunctionDef | ast.ClassDef, module: str, tree: ast.Module
) -> dict[str, str]:
    """Return parameter -> its description in the docstring, on one line.

    If the parameters include `**kwargs`, those of the base classes are included.
    """
    said = _entries(ast.get_docstring(node) or "")
    if isinstance(node, ast.ClassDef):
        for found in _bases(node, module, tree):
            said = meanings_of(*found) | said
    return said


def _entries(docstring: str) -> dict[str, str]:
    """Read the part `Args:` of a docstring in Google style."""
    part = docstring.partition("Args:\n")[2]
    found: dict[str, str] = {}
    name = ""
    for line in part.splitlines():
        if not line.startswith("    "):
            if line.strip():
                break
        elif match := ENTRY.match(line):
            name, found[match[1]] = match[1], match[2]
        elif name and line.strip():
            found[name] += f" {line.strip()}"
    return found


def hint_of(node: ast.expr | None) -> Any:
    """Return the type of an annotation; Any if the type is unknown.

    Known are float, int, bool, str, None, Literal, tuples, unions, the types of
    `ranges`, and `Annotated` with an `Interval`.
    """
    match node:
        case ast.Name(id=name) if name.startswith(f"{ranges.__name__}."):
            return getattr(ranges, name.rpartition(".")[2], Any)
        case ast.Name(id=name):
            return LEAVES.get(name, Any)
        case ast.Constant(value=None):
            return None
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return Union[hint_of(left), hint_of(right)]  # noqa: UP007
        case ast.Subscript(value=ast.Name(id="Literal"), slice=values):
            return _literal(values)
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=members)):
            return tuple[tuple(map(_member, members))]  # type: ignore[misc]
        case ast.Subscript(
            value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, *marks])
        ):
            known = (hint_of(inner), *filter(None, map(_interval, marks)))
            return Annotated[known] if known[1:] else known[0]
    return Any


def _member(node: ast.expr) -> Any:
    return ... if isinstance(node, ast.Constant) else hint_of(node)


def _literal(values: ast.expr) -> Any:
    try:
        return Literal[ast.literal_eval(values)]
    except ValueError:  # it contains a name instead of a value
        return Any


def _interval(node: ast.expr) -> Interval | None:
    match node:
        case ast.Call(func=ast.Name(id="Interval"), args=[], keywords=bounds):
            given = {str(each.arg): each.value for each in bounds}
            if all(name in ranges.SIGNS and _is_number(given[name]) for name in given):
                return Interval(**{k: ast.literal_eval(v) for k, v in given.items()})
    return None


def _is_number(node: ast.expr) -> bool:
    try:
        return ranges.fits(ast.literal_eval(node), float)
    except ValueError:
        return False


def summary_of(node: ast.FunctionDef | ast.ClassDef, tree: ast.Module) -> str:
    """Return the first docstring line of a function, or of the module of a class."""
    owner = tree if isinstance(node, ast.ClassDef) else node
    text = ast.get_docstring(owner) or ast.get_docstring(node) or ""
    return text.partition("\n")[0]


def option(argument: ast.arg, default: ast.expr | None) -> Option:
    """Describe a keyword-only parameter."""
    annotation = ast.unparse(argument.annotation) if argument.annotation else ""
    bare = Option(
        argument.arg,
        annotation.replace(f"{ranges.__name__}.", ""),
        hint=hint_of(argument.annotation),
    )
    if default is None:
        return replace(bare, required=True)
    try:
        value = ast.literal_eval(default)
    except ValueError:
        return replace(bare, default=ast.unparse(default))
    return replace(bare, default=value, literal=True)
