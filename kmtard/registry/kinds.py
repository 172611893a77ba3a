"""The form that a user's own object must have to be used in place of a table entry."""

from __future__ import annotations

import ast
from collections.abc import Callable

Node = ast.FunctionDef | ast.ClassDef


def _is_method(node: Node, arguments: ast.arguments) -> bool:
    taken = [each.arg for each in arguments.posonlyargs + arguments.args]
    return isinstance(node, ast.ClassDef) and taken[:1] == ["student"]


def _is_addition(node: Node, arguments: ast.arguments) -> bool:
    del arguments
    return isinstance(node, ast.ClassDef)


def _is_attack(node: Node, arguments: ast.arguments) -> bool:
    del node
    taken = arguments.posonlyargs + arguments.args + arguments.kwonlyargs
    return "epsilon" in [each.arg for each in taken]


def _takes(count: int) -> Callable[[Node, ast.arguments], bool]:
    def fits(node: Node, arguments: ast.arguments) -> bool:
        del node
        most = len(arguments.posonlyargs + arguments.args)
        enough = most >= count or arguments.vararg is not None
        return enough and most - len(arguments.defaults) <= count

    return fits


KINDS: dict[str, tuple[str, Callable[[Node, ast.arguments], bool]]] = {
    "methods": (
        "a subclass of kmtard.AdversarialModel with student as its first parameter",
        _is_method,
    ),
    "additions": ("a subclass of kmtard.methods.Addition", _is_addition),
    "attacks": ("an attack, with a parameter epsilon", _is_attack),
    "losses": ("a function of (labels, logits)", _takes(2)),
    "networks": (
        "a function of (num_classes, input_shape) that returns a Keras model",
        _takes(2),
    ),
    "datasets": ("a function of (directory) that returns a DataSet", _takes(1)),
}


def misfit(table: str, node: Node, arguments: ast.arguments) -> str | None:
    """Return the expected form if an object does not have it, else None.

    Only the source is checked here. The code that uses the object checks its type.
    """
    kind, fits = KINDS[table]
    return None if fits(node, arguments) else kind
