"""Find the code that a recipe names, and decide whether the recipe is the user's."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from typing import Any

from kmtard import registry
from kmtard.recipe.document import Table, table_at
from kmtard.recipe.errors import Mistake, key_text
from kmtard.registry.bounded import lies_within, working_folder
from kmtard.registry.roles import ROLES, TEACHERS


def foreign_reason(path: str | PathLike[str]) -> str | None:
    """Return why a recipe is not the user's own, or None if it is.

    A recipe is the user's own if its file is inside the working folder.

    Args:
        path: the recipe's file. For the recipe of a run, use `Run.foreign_reason`.
    """
    folder = working_folder()
    if folder is not None and lies_within(path, folder):
        return None
    return f"it is outside the working folder {folder}"


def named_code(document: Table) -> list[tuple[str, str]]:
    """Return the user's own code that a recipe names, without importing it.

    Args:
        document: the recipe as read from TOML.

    Returns:
        A pair (key, name) for each place, such as
        `("student.network", "my_networks:tiny")`.

    Example:
        >>> named_code({"student": {"network": "my_networks:tiny"}})
        [('student.network', 'my_networks:tiny')]
    """
    return [
        (key, name)
        for table, key, name in _names(document)
        if isinstance(name, str) and ":" in name and registry.is_code(table, name)
    ]


def untrusted(document: Table, names: list[str], reason: str) -> Iterator[Mistake]:
    """Yield one mistake for each place where somebody else's recipe names code.

    Args:
        document: the recipe, with the overrides applied.
        names: the code named in the file itself. Code that only the command line names
            is the user's own choice and is accepted.
        reason: why the recipe is not the user's own.
    """
    for key, name in named_code(document):
        if name in names:
            message = (
                f"this names code, and the recipe may not be yours: {reason}. Read the "
                "code. If you trust it, give --trust on the command line (the launcher "
                "has no such option)"
            )
            yield Mistake(key, message, name)


def _names(document: Table) -> Iterator[tuple[str, str, Any]]:
    yield "datasets", "data.name", table_at(document, "data").get("name")
    for role in ROLES:
        network = table_at(document, role).get("network")
        yield "networks", f"{role}.network", network
    yield "methods", "method.name", table_at(document, "method").get("name")
    for role in TEACHERS:
        name = table_at(document, role, "method").get("name")
        yield "methods", f"{role}.method.name", name
    for name in table_at(document, "methods"):
        yield "methods", key_text(("methods", name)), name
    evaluation = table_at(document, "evaluation")
    attacks = evaluation.get("attacks")
    for name in attacks if isinstance(attacks, list) else ():
        yield "attacks", "evaluation.attacks", name
    yield "attacks", "evaluation.headline", evaluation.get("headline")
