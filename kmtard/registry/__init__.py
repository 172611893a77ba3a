"""The names that a recipe may use, looked up without importing the named objects.

This package holds the tables of names, the roles of networks, the reader of
signatures, safe reading of files from other people, and the rule that decides which of
a user's own modules a recipe may name. It imports nothing else from kmtard. Names are
snake_case. `canonical` accepts hyphens in place of underscores, and `label` returns the
spelling that is shown.
"""

from __future__ import annotations

import ast
import copy
import difflib
import importlib
from collections.abc import Iterable
from typing import Any, get_args

from kmtard.registry import modules, networks
from kmtard.registry.errors import RegistryError
from kmtard.registry.kinds import misfit
from kmtard.registry.signatures import (
    Found,
    Option,
    arguments_of,
    definition,
    meanings_of,
    option,
    summary_of,
)

__all__ = [
    "ADDITIONS",
    "ATTACKS",
    "DATASETS",
    "HYPHENATED",
    "METHODS",
    "NETWORKS",
    "RESERVED",
    "TABLES",
    "Option",
    "RegistryError",
    "canonical",
    "check",
    "is_code",
    "keywords",
    "label",
    "meanings",
    "nearest",
    "options",
    "positional",
    "resolve",
    "summary",
]

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
"""Terms that any method can add to its own loss."""

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
    "autoattack_rand": "kmtard.attacks.autoattack:autoattack_rand",
    "square_100": "kmtard.attacks.square:square_100",
    "rays_100": "kmtard.attacks.rays:rays_100",
    "ge": "kmtard.attacks.gradient_estimation:ge",
    "transfer_pgd_trades": "kmtard.attacks.transfer:transfer_pgd_trades",
    "transfer_cw_inf": "kmtard.attacks.transfer:transfer_cw_inf",
    "deepfool": "kmtard.attacks.deepfool:DeepFool",
    "fmn": "kmtard.attacks.fmn:FMN",
    "cw_l2": "kmtard.attacks.cw_l2:CWL2",
    "ddn": "kmtard.attacks.ddn:DDN",
    "hop_skip_jump": "kmtard.attacks.hop_skip_jump:HopSkipJump",
    "mi_fgsm": "kmtard.attacks.momentum:mi_fgsm",
    "ni_fgsm": "kmtard.attacks.momentum:ni_fgsm",
    "di2_fgsm": "kmtard.attacks.momentum:di2_fgsm",
    "ti_fgsm": "kmtard.attacks.momentum:ti_fgsm",
    "transfer_mi_fgsm": "kmtard.attacks.transfer:transfer_mi_fgsm",
    "transfer_ni_fgsm": "kmtard.attacks.transfer:transfer_ni_fgsm",
    "transfer_di2_fgsm": "kmtard.attacks.transfer:transfer_di2_fgsm",
    "transfer_ti_fgsm": "kmtard.attacks.transfer:transfer_ti_fgsm",
}
LOSSES: dict[str, str] = {}
"""Losses that an attack can maximize instead of its own: the user's."""

NETWORKS = {
    "resnet18": "kmtard.networks.resnet:resnet18",
    "resnet56": "kmtard.networks.resnet:resnet56",
    "resnet56_option_a": "kmtard.networks.resnet:resnet56_option_a",
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

FAMILIES = {
    "attacks": {
        "pgd": ("pgd_trades", "pgd_sat"),
        "apgd": ("apgd_ce", "apgd_dlr", "apgd_t"),
        "cw": ("cw_inf",),
        "fab": ("fab_t",),
        "aa": ("autoattack",),
    }
}
"""Common short names of attacks -> the names to suggest. They are not aliases."""

TABLES = {
    "methods": METHODS,
    "additions": ADDITIONS,
    "attacks": ATTACKS,
    "losses": LOSSES,
    "networks": NETWORKS,
    "datasets": DATASETS,
}

# The papers write these names with hyphens. So do tables and files of version 0.1.
HYPHENATED = frozenset(
    {"fair_ard", "baseline_ebb", "b_mtard", "apgd_ce", "apgd_dlr", "apgd_t", "fab_t"}
)

# Everything that reading and parsing a file as Python can raise, whatever it contains.
UNREADABLE = (OSError, SyntaxError, ValueError, RecursionError, MemoryError)

# Keyword-only parameters that come from other sections of a recipe, or from Keras.
RESERVED = frozenset(
    {"additions", "attack", "evaluation_attack", "seed", "name", "dtype"}
)


def canonical(table: str, name: str) -> str:
    """Return the spelling that a table uses for a name.

    Args:
        table: a key of `TABLES`, such as `methods`.
        name: a name of that table, in which hyphens may replace underscores. Any
            other text is returned unchanged.

    Example:
        >>> canonical("methods", "b-mtard")
        'b_mtard'
        >>> canonical("methods", "my-package.module:Method")
        'my-package.module:Method'
    """
    spelled = name.replace("-", "_")
    return spelled if spelled in TABLES[table] else name


def label(name: str) -> str:
    """Return the name of a method or an attack as tables and screens show it.

    Example:
        >>> label("b_mtard"), label("pgd_trades")
        ('b-mtard', 'pgd_trades')
    """
    return name.replace("_", "-") if name in HYPHENATED else name


def norms(name: str) -> tuple[str, ...]:
    """Return the norms that an attack supports, the usual one first.

    Args:
        name: an attack of the table, or `package.module:Object`.

    Raises:
        RegistryError: the name is unknown, or its source has no such definition.

    Example:
        >>> norms("pgd_trades"), norms("ddn"), norms("rays_100")
        (('linf', 'l2'), ('l2',), ('linf',))
    """
    norm = options("attacks", name).get("norm")
    if norm is None:
        return ("linf",)
    return get_args(norm.hint) or ("linf", "l2")


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the most similar of `words`, or None if none is similar enough.

    Upper and lower case count as equal, and so do hyphens and underscores.

    Example:
        >>> nearest("AutoAttack", ATTACKS)
        'autoattack'
    """
    spelled = {_plain(each): each for each in words}
    close = difflib.get_close_matches(_plain(word), list(spelled), n=1)
    return spelled[close[0]] if close else None


def _plain(word: str) -> str:
    return word.lower().replace("-", "_")


def is_code(table: str, name: str) -> bool:
    """Return whether a name refers to the user's own code, not to a table entry.

    Args:
        table: a key of `TABLES`.
        name: any text.

    Example:
    ```python
    is_code("networks", "resnet18")  # False
    is_code("networks", "my_networks:tiny")  # True
    ```
    """
    names = TABLES[table]
    if table == "networks" and networks.is_special(name):
        return False
    return canonical(table, name) not in names and name not in names.values()


def check(table: str, name: str) -> None:
    """Check that a name can be used for an entry of a table, importing nothing.

    Args:
        table: a key of `TABLES`.
        name: a name of that table, or `package.module:Object`.

    Raises:
        RegistryError: the name is unknown or may not be used, or the object does not
            have the form that the table needs. The text says what to do.
    """
    found = _found(table, name)
    if is_code(table, name) and (
        kind := misfit(table, found[0], _signature(table, name))
    ):
        raise RegistryError(f"{name} to be {kind}", f"`{_heading(found[0])}`")


def resolve(table: str, name: str) -> Any:
    """Import the object that a name refers to.

    Args:
        table: a key of `TABLES`.
        name: a name of that table, or `package.module:Object` with a module file under
            the working folder, one given by `--import`, or a package that declares the
            entry-point group `kmtard.plugins`.

    Raises:
        RegistryError: the name is unknown or may not be used, the module or object does
            not exist, or the object does not have the form that the table needs.

    Example:
        >>> resolve("datasets", "digits").__name__
        'digits'
    """
    if table == "networks" and (special := networks.place(name)):
        return networks.builder(special)
    module_name, attribute = _target(table, name)
    is_own = is_code(table, name)
    if is_own:
        check(table, name)
    load = modules.load if is_own else importlib.import_module
    try:
        module = load(module_name)
    except ModuleNotFoundError as error:
        # A missing dependency of the module is not a mistake in the name.
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
    without those in `RESERVED`. Where a class passes `**kwargs` on to a base class,
    the options of the base class are included.

    Args:
        table: a key of `TABLES`.
        name: a name of that table, or `package.module:Object`.

    Returns:
        Option by name, in the order of the source.

    Raises:
        RegistryError: the name is unknown, or its source has no such definition.

    Example:
        >>> options("networks", "small_cnn")["width"].default
        16
    """
    arguments = _signature(table, name)
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return {
        argument.arg: option(argument, default)
        for argument, default in pairs
        if argument.arg not in RESERVED
    }


def meanings(table: str, name: str) -> dict[str, str]:
    """Return the description of each parameter in an object's docstring.

    If the parameters include `**kwargs`, those of the base classes are included.

    Args:
        table: a key of `TABLES`.
        name: a name of that table, or `package.module:Object`.

    Raises:
        RegistryError: the name is unknown, or its source has no such definition.

    Example:
        >>> meanings("methods", "b_mtard")["weight_rate"]
        'rate of NLB per training step, in [0, 1]; 0.025 in the paper.'
    """
    found = _found(table, name)
    try:
        return meanings_of(*found)
    except UNREADABLE as error:
        raise _unreadable(name, found[1], error) from error


def keywords(table: str, name: str) -> tuple[str, ...]:
    """Read the names of all keyword-only parameters, including those in `RESERVED`.

    Args:
        table: a key of `TABLES`.
        name: a name of that table, or `package.module:Object`.

    Raises:
        RegistryError: the name is unknown, or its source has no such definition.
    """
    return tuple(argument.arg for argument in _signature(table, name).kwonlyargs)


def positional(table: str, name: str) -> tuple[str, ...]:
    """Read the names of an object's positional parameters, without `self`.

    Args:
        table: a key of `TABLES`.
        name: a name of that table, or `package.module:Object`.

    Raises:
        RegistryError: the name is unknown, or its source has no such definition.
    """
    arguments = _signature(table, name)
    return tuple(argument.arg for argument in arguments.posonlyargs + arguments.args)


def summary(table: str, name: str) -> str:
    """Read a one-line description of an object from its source, without importing it.

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
    special = networks.place(name) if table == "networks" else None
    target = special.target if special else names.get(known, name)
    module, _, attribute = target.partition(":")
    if all(part.isidentifier() for part in (*module.split("."), attribute)):
        if is_code(table, name):
            modules.find(module)
        return module, attribute
    others = ", a .keras file, keras.applications:NAME" if table == "networks" else ""
    raise RegistryError(
        f"a name from the table of {table}{others}, or package.module:Object",
        repr(name),
        names,
        _meant(table, name),
    )


def _meant(table: str, name: str) -> str | None:
    """Return the names that an unknown name probably means; None if none is close."""
    family = FAMILIES.get(table, {}).get(_plain(name))
    return " or ".join(family) if family else nearest(name, TABLES[table])


def _signature(table: str, name: str) -> ast.arguments:
    found = _found(table, name)
    try:
        arguments = arguments_of(*found)
    except UNREADABLE as error:
        raise _unreadable(name, found[1], error) from error
    return arguments or ast.arguments(
        posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[]
    )


def _found(table: str, name: str) -> Found:
    module, attribute = _target(table, name)
    if modules.source_path(module) is None:
        raise _no_module(name, module)
    try:
        found = definition(module, attribute)
    except UNREADABLE as error:
        raise _unreadable(name, module, error) from error
    if found is None:
        raise _no_object(name, module, attribute)
    return found


def _heading(node: ast.FunctionDef | ast.ClassDef) -> str:
    bare = copy.copy(node)
    bare.body, bare.decorator_list = [ast.Pass()], []
    return ast.unparse(bare).partition("\n")[0]


def _unreadable(name: str, module: str, error: Exception) -> RegistryError:
    return RegistryError(
        f"Python source that can be read in {module}", f"{name!r}: {error}"
    )


def _no_module(name: str, module: str) -> RegistryError:
    return RegistryError(f"{module} to be a module that Python can find", repr(name))


def _no_object(name: str, module: str, attribute: str) -> RegistryError:
    return RegistryError(f"{module} to define {attribute}", repr(name))
