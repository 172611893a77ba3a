"""The four tables of names a recipe may use, read without importing what they name."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, TypeAlias

METHODS = {
    "natural": "kmtard.methods.natural:Natural",
    "trades": "kmtard.methods.trades:TRADES",
    "baseline": "kmtard.methods.multi_teacher:baseline",
    "baseline-ebb": "kmtard.methods.multi_teacher:baseline_ebb",
    "mtard": "kmtard.methods.multi_teacher:mtard",
    "b-mtard": "kmtard.methods.multi_teacher:b_mtard",
}
ATTACKS = {
    "fgsm": "kmtard.attacks.gradient:fgsm",
    "pgd_sat": "kmtard.attacks.gradient:pgd_sat",
    "pgd_trades": "kmtard.attacks.gradient:pgd_trades",
}
NETWORKS = {
    "resnet18": "kmtard.networks.resnet18:resnet18",
    "small_cnn": "kmtard.networks.small_cnn:small_cnn",
}
DATASETS = {"digits": "kmtard.data.digits:digits"}

TABLES = {
    "methods": METHODS,
    "attacks": ATTACKS,
    "networks": NETWORKS,
    "datasets": DATASETS,
}

# Keyword-only parameters that come from other sections of a recipe, or from Keras.
RESERVED = frozenset({"attack", "evaluation_attack", "seed", "name", "dtype"})


_Found: TypeAlias = tuple[ast.FunctionDef | ast.ClassDef, str, ast.Module]


class RegistryError(KeyError):
    """A name that stands in no table and names no object of the user's own.

    Attributes:
        expected: what would have been right.
        received: what was found instead.
        allowed: the names of the table, where the name looked like one of them.
        nearest: the allowed name most like the received one, if any is.
    """

    def __init__(
        self,
        expected: str,
        received: str,
        allowed: Iterable[str] = (),
        nearest: str | None = None,
    ) -> None:
        super().__init__(expected, received)
        self.expected = expected
        self.received = received
        self.allowed = tuple(allowed)
        self.nearest = nearest

    def __str__(self) -> str:
        """Return sentences; a plain `KeyError` would show its arguments' repr."""
        hint = f" Did you mean {self.nearest}?" if self.nearest else ""
        allowed = f" Allowed: {', '.join(self.allowed)}." if self.allowed else ""
        return f"Expected {self.expected}. Received: {self.received}.{hint}{allowed}"


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


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the one of `words` most like `word`, or None if none is like it."""
    return next(iter(difflib.get_close_matches(word, list(words), n=1)), None)


def resolve(table: str, name: str) -> Any:
    """Import the object that a name stands for.

    Args:
        table: `methods`, `attacks`, `networks` or `datasets`.
        name: a name of that table, or `package.module:Object`.

    Raises:
        RegistryError: the name is unknown, or there is no such module or object.
    """
    module_name, attribute = _target(table, name)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # Only the absence of the named module itself is a mistake in the name.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise _no_module(name, module_name) from error
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        raise _no_object(name, module_name, attribute) from error


def options(table: str, name: str) -> dict[str, Option]:
    """Read the options of an object from its source, without importing it.

    Options are the keyword-only parameters of a function, or of a class's `__init__`
    (its own, or that of a base class), less `RESERVED`.

    Args:
        table: `methods`, `attacks`, `networks` or `datasets`.
        name: a name of that table, or `package.module:Object`.

    Raises:
        RegistryError: the name is unknown, or its source has no such definition.
    """
    arguments = _signature(table, name)
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return {
        argument.arg: _option(argument, default)
        for argument, default in pairs
        if argument.arg not in RESERVED
    }


def positional(table: str, name: str) -> tuple[str, ...]:
    """Read the names of an object's positional parameters, `self` left out.

    Args:
        table: `methods`, `attacks`, `networks` or `datasets`.
        name: a name of that table, or `package.module:Object`.

    Raises:
        RegistryError: the name is unknown, or its source has no such definition.
    """
    arguments = _signature(table, name)
    return tuple(argument.arg for argument in arguments.posonlyargs + arguments.args)


def _target(table: str, name: str) -> tuple[str, str]:
    names = TABLES[table]
    module, _, attribute = names.get(name, name).partition(":")
    if all(part.isidentifier() for part in (*module.split("."), attribute)):
        return module, attribute
    raise RegistryError(
        f"a name from the table of {table}, or package.module:Object",
        repr(name),
        names,
        nearest(name, names),
    )


def _signature(table: str, name: str) -> ast.arguments:
    module, attribute = _target(table, name)
    if _source_path(module) is None:
        raise _no_module(name, module)
    try:
        found = _definition(module, attribute)
        if found is None:
            raise _no_object(name, module, attribute)
        arguments = _arguments(*found)
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        raise RegistryError(
            f"Python source that can be read in {module}", f"{name!r}: {error}"
        ) from error
    return arguments or ast.arguments(
        posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[]
    )


def _definition(module: str, name: str) -> _Found | None:
    """Find a function or class by its name in a module, or where that imports it."""
    path = _source_path(module)
    if path is None:
        return None
    tree = ast.parse(path.read_bytes(), filename=str(path))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node, module, tree
    for each in ast.walk(tree):
        if isinstance(each, ast.ImportFrom) and each.module and not each.level:
            for alias in each.names:
                if name == (alias.asname or alias.name):
                    return _definition(each.module, alias.name)
    return None


def _arguments(
    node: ast.FunctionDef | ast.ClassDef, module: str, tree: ast.Module
) -> ast.arguments | None:
    if isinstance(node, ast.FunctionDef):
        return node.args
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            del (member.args.posonlyargs or member.args.args)[:1]
            return member.args
    modules = {
        alias.asname or alias.name: alias.name
        for imported in ast.walk(tree)
        if isinstance(imported, ast.Import)
        for alias in imported.names
    }
    for base in node.bases:
        owner, _, attribute = ast.unparse(base).rpartition(".")
        found = _definition(modules.get(owner, owner) or module, attribute)
        # A class may hide an imported base of its own name: that one is not sought.
        if found is not None and (found[0].name, found[1]) != (node.name, module):
            arguments = _arguments(*found)
            if arguments is not None:
                return arguments
    return None


def _source_path(module: str) -> Path | None:
    """Locate a module's file; `find_spec` of a dotted name would import its parents."""
    top, *parts = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # a module without a spec, such as a script's __main__
        return None
    for part in parts:
        if spec is None or spec.submodule_search_locations is None:
            return None
        locations = list(spec.submodule_search_locations)
        spec = PathFinder.find_spec(f"{spec.name}.{part}", locations)
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    return Path(spec.origin)


def _option(argument: ast.arg, default: ast.expr | None) -> Option:
    annotation = ast.unparse(argument.annotation) if argument.annotation else ""
    if default is None:
        return Option(argument.arg, annotation, required=True)
    try:
        value = ast.literal_eval(default)
    except ValueError:
        return Option(argument.arg, annotation, default=ast.unparse(default))
    return Option(argument.arg, annotation, default=value, literal=True)


def _no_module(name: str, module: str) -> RegistryError:
    return RegistryError(f"{module} to be a module that Python can find", repr(name))


def _no_object(name: str, module: str, attribute: str) -> RegistryError:
    return RegistryError(f"{module} to define {attribute}", repr(name))
