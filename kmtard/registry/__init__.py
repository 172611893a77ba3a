"""The tables of names that a recipe may use, read without importing what they name.

Lives here: the tables, the roles of networks, and the reader of signatures. It imports
nothing of kmtard. Names are snake_case; `canonical` accepts hyphens for underscores,
and `label` is how a name is shown.
"""

from __future__ import annotations

import ast
import difflib
import importlib
from collections.abc import Iterable
from typing import Any

from kmtard.registry.signatures import (
    Found,
    Option,
    arguments_of,
    definition,
    option,
    source_path,
    summary_of,
)

METHODS = {
    "natural": "kmtard.methods.natural:Natural",
    "sat": "kmtard.methods.sat:SAT",
    "trades": "kmtard.methods.trades:TRADES",
    "score": "kmtard.methods.score:SCORE",
    "ard": "kmtard.methods.ard:ARD",
    "fair_ard": "kmtard.methods.fair_ard:FairARD",
    "iad": "kmtard.methods.iad:IAD",
    "rslad": "kmtard.methods.rslad:RSLAD",
    "absld": "kmtard.methods.absld:ABSLD",
    "lmtn": "kmtard.methods.lmtn:LMTN",
    "baseline": "kmtard.methods.baseline:Baseline",
    "baseline_ebb": "kmtard.methods.baseline_ebb:BaselineEBB",
    "mtard": "kmtard.methods.mtard:MTARD",
    "b_mtard": "kmtard.methods.b_mtard:BMTARD",
    "mart": "kmtard.methods.mart:MART",
    "adaad": "kmtard.methods.adaad:AdaAD",
}
ADDITIONS: dict[str, str] = {}
"""What any method can take on top of its own loss."""

ATTACKS = {
    "fgsm": "kmtard.attacks.gradient:fgsm",
    "pgd_sat": "kmtard.attacks.gradient:pgd_sat",
    "pgd_trades": "kmtard.attacks.gradient:pgd_trades",
    "cw_inf": "kmtard.attacks.gradient:cw_inf",
    "apgd_ce": "kmtard.attacks.apgd:apgd_ce",
    "apgd_dlr": "kmtard.attacks.apgd:apgd_dlr",
    "apgd_t": "kmtard.attacks.apgd:apgd_t",
    "fab_t": "kmtard.attacks.fab:fab_t",
    "square": "kmtard.attacks.square:Square",
    "autoattack": "kmtard.attacks.autoattack:AutoAttack",
    "square_100": "kmtard.attacks.square:square_100",
    "rays_100": "kmtard.attacks.rays:rays_100",
    "ge": "kmtard.attacks.gradient_estimation:ge",
    "transfer_pgd_trades": "kmtard.attacks.transfer:transfer_pgd_trades",
    "transfer_cw_inf": "kmtard.attacks.transfer:transfer_cw_inf",
}
NETWORKS = {
    "resnet18": "kmtard.networks.resnet:resnet18",
    "resnet56": "kmtard.networks.resnet:resnet56",
    "mobilenet_v2": "kmtard.networks.mobilenet_v2:mobilenet_v2",
    "preact_resnet18": "kmtard.networks.preact_resnet:preact_resnet18",
    "preact_resnet34": "kmtard.networks.preact_resnet:preact_resnet34",
    "wide_resnet_22_6": "kmtard.networks.wide_resnet:wide_resnet_22_6",
    "wide_resnet_28_10": "kmtard.networks.wide_resnet:wide_resnet_28_10",
    "wide_resnet_34_10": "kmtard.networks.wide_resnet:wide_resnet_34_10",
    "wide_resnet_70_16": "kmtard.networks.wide_resnet:wide_resnet_70_16",
    "small_cnn": "kmtard.networks.small_cnn:small_cnn",
}
DATASETS = {
    "digits": "kmtard.data.digits:digits",
    "cifar10": "kmtard.data.catalog:cifar10",
    "cifar100": "kmtard.data.catalog:cifar100",
    "fashion_mnist": "kmtard.data.fashion_mnist:fashion_mnist",
    "svhn_cropped": "kmtard.data.catalog:svhn_cropped",
    "tiny_imagenet": "kmtard.data.tiny_imagenet:tiny_imagenet",
    "image_folder": "kmtard.data.image_folder:image_folder",
    "npz": "kmtard.data.npz:npz",
}

TABLES = {
    "methods": METHODS,
    "additions": ADDITIONS,
    "attacks": ATTACKS,
    "networks": NETWORKS,
    "datasets": DATASETS,
}

# The literature writes these with hyphens: so do tables, and files of version 0.1.
HYPHENATED = frozenset(
    {"fair_ard", "baseline_ebb", "b_mtard", "apgd_ce", "apgd_dlr", "apgd_t", "fab_t"}
)

# Keyword-only parameters that come from other sections of a recipe, or from Keras.
RESERVED = frozenset(
    {"additions", "attack", "evaluation_attack", "seed", "name", "dtype"}
)


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


def canonical(table: str, name: str) -> str:
    """Return the name that a table has for another spelling of it.

    Args:
        table: `methods`, `attacks`, `networks` or `datasets`.
        name: a name of that table, in which hyphens may stand for underscores. Any
            other text is returned as it is.

    Example:
        >>> canonical("methods", "b-mtard")
        'b_mtard'
        >>> canonical("methods", "my-package.module:Method")
        'my-package.module:Method'
    """
    spelled = name.replace("-", "_")
    return spelled if spelled in TABLES[table] else name


def label(name: str) -> str:
    """Return how tables and screens write the name of a method or an attack.

    Example:
        >>> label("b_mtard"), label("pgd_trades")
        ('b-mtard', 'pgd_trades')
    """
    return name.replace("_", "-") if name in HYPHENATED else name


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the one of `words` most like `word`, or None if none is like it."""
    return next(iter(difflib.get_close_matches(word, list(words), n=1)), None)


def resolve(table: str, name: str) -> Any:
    """Import the object that a name stands for.

    Args:
        table: a key of `TABLES`.
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

    Options are the keyword-only parameters of a function or of a class's `__init__`,
    with what their `**kwargs` stand for (`signatures.arguments_of`), less `RESERVED`.

    Args:
        table: a key of `TABLES`.
        name: a name of that table, or `package.module:Object`.

    Raises:
        RegistryError: the name is unknown, or its source has no such definition.
    """
    arguments = _signature(table, name)
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return {
        argument.arg: option(argument, default)
        for argument, default in pairs
        if argument.arg not in RESERVED
    }


def keywords(table: str, name: str) -> tuple[str, ...]:
    """Read the names of all keyword-only parameters, those of `RESERVED` included.

    Args:
        table: a key of `TABLES`.
        name: a name of that table, or `package.module:Object`.

    Raises:
        RegistryError: the name is unknown, or its source has no such definition.
    """
    return tuple(argument.arg for argument in _signature(table, name).kwonlyargs)


def positional(table: str, name: str) -> tuple[str, ...]:
    """Read the names of an object's positional parameters, `self` left out.

    Args:
        table: a key of `TABLES`.
        name: a name of that table, or `package.module:Object`.

    Raises:
        RegistryError: the name is unknown, or its source has no such definition.
    """
    arguments = _signature(table, name)
    return tuple(argument.arg for argument in arguments.posonlyargs + arguments.args)


def summary(table: str, name: str) -> str:
    """Read one line on what an object is from its source, without importing it.

    Args:
        table: a key of `TABLES`.
        name: a name of that table, or `package.module:Object`.

    Raises:
        RegistryError: the name is unknown, or its source has no such definition.
    """
    node, _, tree = _found(table, name)
    return summary_of(node, tree)


def _target(table: str, name: str) -> tuple[str, str]:
    names = TABLES[table]
    known = canonical(table, name)
    module, _, attribute = names.get(known, name).partition(":")
    if all(part.isidentifier() for part in (*module.split("."), attribute)):
        return module, attribute
    raise RegistryError(
        f"a name from the table of {table}, or package.module:Object",
        repr(name),
        names,
        nearest(name, names),
    )


def _signature(table: str, name: str) -> ast.arguments:
    found = _found(table, name)
    try:
        arguments = arguments_of(*found)
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        raise _unreadable(name, found[1], error) from error
    return arguments or ast.arguments(
        posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[]
    )


def _found(table: str, name: str) -> Found:
    module, attribute = _target(table, name)
    if source_path(module) is None:
        raise _no_module(name, module)
    try:
        found = definition(module, attribute)
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        raise _unreadable(name, module, error) from error
    if found is None:
        raise _no_object(name, module, attribute)
    return found


def _unreadable(name: str, module: str, error: Exception) -> RegistryError:
    return RegistryError(
        f"Python source that can be read in {module}", f"{name!r}: {error}"
    )


def _no_module(name: str, module: str) -> RegistryError:
    return RegistryError(f"{module} to be a module that Python can find", repr(name))


def _no_object(name: str, module: str, attribute: str) -> RegistryError:
    return RegistryError(f"{module} to define {attribute}", repr(name))
