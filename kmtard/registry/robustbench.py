"""The CIFAR models of RobustBench by name: their networks and their published numbers.

`robustbench.json` was made by `tests/reference/robustbench.py` from RobustBench's code.
An entry is named as in RobustBench, such as `Gowal2020Uncovering_70_16`, or with its
data set and threat model, such as `cifar10/L2/Standard`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import Any

from kmtard.registry.errors import RegistryError

PREFIX = "robustbench:"
NORMS = {"Linf": "linf", "L2": "l2", "corruptions": None}
"""Threat model -> norm of its attacks, in the order in which names are searched."""

CLASSES = {"cifar10": 10, "cifar100": 100}
IMAGE_SHAPE = (32, 32, 3)
ATTACK = "AutoAttack"


@dataclass(frozen=True)
class Entry:
    """A model of RobustBench's leaderboards.

    Attributes:
        key: data set, threat model and name.
        architecture: the architecture in RobustBench's words.
        paper: title of its paper.
        link: address of its paper.
        network: `module:function` in `kmtard.networks` that builds it; empty if it is
            refused.
        options: options of the function.
        mean: the standardization of its images, as the function's `mean`.
        std: as the function's `std`.
        each_image: whether each image is standardized by its own mean and deviation.
        nest: key of its weights in the published file; None if they are alone.
        refused: why it cannot be loaded; empty if it can.
        epsilon: radius of the published evaluation, as text; None for corruptions.
        clean: published clean accuracy in %.
        autoattack: published accuracy under AutoAttack in %; None for corruptions.
        corruptions: published mean accuracy on corrupted images in %.
    """

    key: str
    architecture: str
    paper: str
    link: str
    network: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    mean: Any = ()
    std: Any = ()
    each_image: bool = False
    nest: str | None = None
    refused: str = ""
    epsilon: str | None = None
    clean: float | None = None
    autoattack: float | None = None
    corruptions: float | None = None

    @property
    def data(self) -> str:
        """Name of the data set."""
        return self.key.split("/")[0]

    @property
    def threat(self) -> str:
        """Threat model: Linf, L2 or corruptions."""
        return self.key.split("/")[1]

    @property
    def name(self) -> str:
        """Name of the model in RobustBench."""
        return self.key.split("/")[2]

    @property
    def norm(self) -> str | None:
        """Norm of the published attack; None for corruptions."""
        return NORMS[self.threat]

    @property
    def radius(self) -> float | None:
        """Radius of the published attack in [0, 1]; None for corruptions."""
        return float(Fraction(self.epsilon)) if self.epsilon and self.norm else None

    @property
    def settings(self) -> dict[str, Any]:
        """Data set, radius and norm with which the model is evaluated by default."""
        found = {"data": self.data, "epsilon": self.radius, "norm": self.norm}
        return {key: each for key, each in found.items() if each is not None}

    @property
    def published(self) -> dict[str, Any]:
        """The published numbers, for the record of an evaluation."""
        found = {
            "name": self.key,
            "architecture": self.architecture,
            "paper": self.paper,
            "link": self.link,
            "epsilon": self.radius,
            "norm": self.norm,
            "clean": self.clean,
            "autoattack": self.autoattack,
            "corruptions": self.corruptions,
        }
        return {key: each for key, each in found.items() if each is not None}


@cache
def entries() -> Mapping[str, Entry]:
    """Return all entries by key, also those that are refused.

    Example:
        >>> entries()["cifar10/Linf/Wang2023Better_WRN-28-10"].autoattack
        67.31
    """
    path = files("kmtard.registry").joinpath("robustbench.json")
    found = json.loads(path.read_text(encoding="utf-8"))["entries"]
    return {key: Entry(key=key, **each) for key, each in found.items()}


def candidates(name: str) -> list[Entry]:
    """Return the entries with a name, L_inf first.

    Args:
        name: with or without `PREFIX`, data set and threat model.

    Raises:
        RegistryError: there is no such entry, or every one of them is refused.
    """
    given = name.removeprefix(PREFIX)
    known = entries()
    found = [e for key, e in known.items() if f"/{key}".endswith(f"/{given}")]
    if not found:
        from kmtard.registry import nearest

        names = dict.fromkeys(each.name for each in known.values())
        raise RegistryError(
            "the name of a CIFAR model in RobustBench",
            repr(name),
            nearest=nearest(given.rpartition("/")[2], names),
        )
    usable = [each for each in found if not each.refused]
    if not usable:
        raise refusal(found)
    return sorted(usable, key=lambda each: list(NORMS).index(each.threat))


def refusal(found: Iterable[Entry]) -> RegistryError:
    """Return the error for entries that cannot be loaded."""
    first = next(iter(found))
    return RegistryError(
        "a model that is one convolutional network with published weights",
        f"{first.name}, {first.architecture}",
        reason=f"{first.refused}. A PyTorch module can be evaluated without "
        "conversion; see docs/weights.md",
    )


def find(name: str, data: str | None = None) -> Entry:
    """Return the entry with a name; the L_inf entry if a name has several.

    Args:
        name: with or without `PREFIX`, data set and threat model.
        data: name of the data set; None if the name alone decides.

    Raises:
        RegistryError: there is no such entry, it is refused, or it is in several data
            sets.

    Example:
        >>> find("robustbench:Gowal2020Uncovering_70_16").key
        'cifar10/Linf/Gowal2020Uncovering_70_16'
    """
    found = candidates(name)
    sets = list(dict.fromkeys(each.data for each in found))
    if data is not None and data not in sets:
        raise RegistryError(f"a model of RobustBench for {data}", repr(name), sets)
    if data is None and len(sets) > 1:
        raise RegistryError(
            "the name of a model with its data set",
            repr(name),
            [PREFIX + each.key for each in found],
        )
    return next(each for each in found if data in (None, each.data))
