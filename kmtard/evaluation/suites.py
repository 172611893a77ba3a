"""Attacks by name, at one epsilon: those asked for, or the columns of the paper."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from kmtard import registry

if TYPE_CHECKING:
    from kmtard.attacks import Attack

PAPER_EPSILON = 8 / 255
"""Where the attacks' default step sizes are those of the papers."""

DEFAULT_ATTACKS = ("fgsm", "pgd_trades")

SUITES = {
    "paper": (
        *("fgsm", "pgd_sat", "pgd_trades", "cw_inf", "autoattack"),
        *("transfer_pgd_trades", "transfer_cw_inf", "square_100", "rays_100", "ge"),
    ),
}
"""`paper`: the columns of Tables 3 to 6 and 9 of the B-MTARD paper, beside clean."""

# The others have a number of steps of their own, on which their strength rests.
PLAIN_PGD = ("pgd_sat", "pgd_trades", "transfer_pgd_trades")


@dataclass(frozen=True)
class Strength:
    """What attacks that are given by name have in common.

    Args:
        epsilon: radius of the ball, in pixel intensity.
        step_size: of PGD in all its settings; None for that of the papers at 8/255,
            scaled with epsilon, without which small steps never reach the border.
        steps: of PGD in all its settings; None for theirs.
        norm: of the ball, "linf" or "l2".

    Raises:
        ValueError: a value is out of its range.
    """

    epsilon: float = PAPER_EPSILON
    step_size: float | None = None
    steps: int | None = None
    norm: str = "linf"

    def __post_init__(self) -> None:
        """Refuse, above all, an epsilon that was meant for images in [0, 255]."""
        for name, value in (("epsilon", self.epsilon), ("step_size", self.step_size)):
            number = isinstance(value, Real)
            if value is not None and not (number and 0 <= value <= 1):
                raise ValueError(
                    f"`{name}` must be a number in [0, 1], as the images are: 8/255, "
                    f"not 8. Received: {value!r}"
                )
        if self.steps is not None and self.steps < 0:
            raise ValueError(f"`steps` must be >= 0. Received: {self.steps}")
        if self.norm not in ("linf", "l2"):
            raise ValueError(f"`norm` must be 'linf' or 'l2'. Received: {self.norm!r}.")


def suite_attacks(
    name: str, strength: Strength, surrogate: Any = None
) -> dict[str, Attack]:
    """Return the attacks of a suite by their names.

    The step sizes and step numbers are the paper's, scaled with epsilon; of the
    strength only that one counts.

    Args:
        name: a key of `SUITES`.
        strength: where `epsilon` is read.
        surrogate: model that transferred images are crafted on, the robust teacher in
            the paper; without one the transfer attacks are left out.

    Raises:
        ValueError: there is no such suite.
    """
    if name not in SUITES:
        raise ValueError(
            f"Expected a suite out of {', '.join(SUITES)}. Received: {name!r}."
        )
    missing = left_out(name) if surrogate is None else []
    paper = Strength(strength.epsilon, norm=strength.norm)
    names = [each for each in SUITES[name] if each not in missing]
    return named_attacks(names, paper, surrogate)


def left_out(suite: str) -> list[str]:
    """Return the attacks of a suite that need a surrogate."""
    return [name for name in SUITES[suite] if needs_surrogate(name)]


def named_attacks(
    names: Iterable[str], strength: Strength, surrogate: Any = None
) -> dict[str, Attack]:
    """Return registered attacks at a strength, by their names.

    Raises:
        ValueError: names are unknown, all of them listed, or a surrogate is missing.
    """
    names = [registry.canonical("attacks", name) for name in names]
    if mistakes := find_mistakes(
        names, has_surrogate=surrogate is not None, norm=strength.norm
    ):
        raise ValueError("\n".join(mistakes))
    return {name: _made(name, strength, surrogate) for name in names}


def find_mistakes(
    names: Iterable[str], *, has_surrogate: bool, norm: str = "linf"
) -> list[str]:
    """Return one line for each name that is no attack, or that lacks what it needs.

    Nothing is imported, so a command line can be refused before Keras is loaded.
    """
    mistakes = []
    for name in names:
        try:
            if needs_surrogate(name) and not has_surrogate:
                mistakes.append(
                    f"The attack {name} crafts its images on another model: expected a "
                    "surrogate, received none."
                )
            if norm == "l2" and not registry.takes_l2(name):
                able = filter(registry.takes_l2, registry.ATTACKS)
                mistakes.append(
                    f"Expected attacks that can be had in L2: {', '.join(able)}. "
                    f"Received: {name}, which is L_inf only."
                )
        except registry.RegistryError as error:
            mistakes.append(str(error))
    return mistakes


def needs_surrogate(name: str) -> bool:
    """Tell whether a registered attack crafts its images on another model.

    Raises:
        RegistryError: there is no such attack.
    """
    registry.check("attacks", name)
    return "surrogate" in registry.positional("attacks", name)


def _made(name: str, strength: Strength, surrogate: Any) -> Attack:
    from kmtard.attacks import base

    make = registry.resolve("attacks", name)
    settings: dict[str, Any] = {"epsilon": strength.epsilon}
    default = inspect.signature(make).parameters.get("step_size")
    if name in PLAIN_PGD and strength.step_size is not None:
        settings["step_size"] = strength.step_size
    elif default is not None and isinstance(default.default, float):
        settings["step_size"] = default.default * strength.epsilon / PAPER_EPSILON
    if name in PLAIN_PGD and strength.steps is not None:
        settings["steps"] = strength.steps
    if strength.norm != "linf":
        settings["norm"] = strength.norm
    models = [surrogate] if needs_surrogate(name) else []
    attack = make(*models, **settings)
    if not isinstance(attack, base.Attack):
        raise ValueError(
            f"Expected {name} to make a kmtard.attacks.Attack. Received: "
            f"{type(attack).__name__}."
        )
    return attack
