"""Build attacks from their names with one epsilon, singly or as a suite."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from kmtard import registry
from kmtard.registry import ranges

if TYPE_CHECKING:
    from kmtard.attacks import Attack

PAPER_EPSILON = 8 / 255
"""The epsilon to which the attacks' default step sizes belong."""

NORMS = ("linf", "l2", "l1")
"""The norms in which a ball may be measured; few attacks support L1."""

DEFAULT_ATTACKS = ("fgsm", "pgd_trades")

SUITES = {
    "paper": (
        *("fgsm", "pgd_sat", "pgd_trades", "cw_inf", "autoattack"),
        *("transfer_pgd_trades", "transfer_cw_inf", "square_100", "rays_100", "ge"),
    ),
    "standard": ("autoattack",),
    "quick": ("fgsm", "pgd_trades", "apgd_ce", "square_100"),
    "blackbox": (
        *("transfer_pgd_trades", "transfer_cw_inf", "transfer_mi_fgsm"),
        *("transfer_ni_fgsm", "transfer_di2_fgsm", "transfer_ti_fgsm"),
        *("square", "rays_100", "ge"),
    ),
    "adaptive": ("pgd_sat", "apgd_ce", "apgd_t", "autoattack_rand", "square", "ge"),
}
"""Name of a suite -> the attacks in it.

* `paper`: Tables 3 to 6 and 9 of the B-MTARD paper.
* `standard`: the attack of RobustBench's leaderboard.
* `quick`: minutes on a GPU, to compare models while you work.
* `blackbox`: no gradient of the model, only of a surrogate.
* `adaptive`: for a new kind of defense. Its PGD and APGD-CE maximize your own loss if
  you give one; the others show whether gradients mislead.
"""

OWN_LOSS = ("fgsm", "pgd_sat", "pgd_trades", "apgd_ce")
"""Attacks that maximize the user's loss, if there is one, instead of cross-entropy."""

# `steps` applies only to these: other attacks need their own number of steps.
PLAIN_PGD = ("pgd_sat", "pgd_trades", "transfer_pgd_trades")


@dataclass(frozen=True)
class Strength:
    """The common settings of attacks that are given by name.

    Args:
        epsilon: radius of the ball in pixel intensity, in [0, 1]; in L1, the sum over
            all pixel values, any finite number >= 0.
        step_size: step size of the PGD attacks, in [0, 1]. None for that of the papers
            times epsilon / (8/255), so that the steps can reach the border of any ball.
        steps: number of steps of the PGD attacks, >= 0; None for that of the papers.
        norm: norm of the ball, a name in `NORMS`.
        loss: a function of labels (batch,) and logits (batch, classes) that returns
            (batch,) values; the attacks in `OWN_LOSS` maximize it. None for the
            cross-entropy.

    Raises:
        ValueError: a value is out of its range.
    """

    epsilon: float = PAPER_EPSILON
    step_size: float | None = None
    steps: int | None = None
    norm: str = "linf"
    loss: Callable[[Any, Any], Any] | None = None

    def __post_init__(self) -> None:
        """Check the ranges, above all that epsilon is not for images in [0, 255]."""
        if self.norm not in NORMS:
            raise ValueError(
                f"`norm` must be {', '.join(map(repr, NORMS[:-1]))} or {NORMS[-1]!r}. "
                f"Received: {self.norm!r}."
            )
        bounded = {"epsilon": self.epsilon, "step_size": self.step_size}
        if self.norm == "l1":
            ranges.check("epsilon", bounded.pop("epsilon"), ranges.Radius)
        for name, value in bounded.items():
            number = isinstance(value, Real)
            if value is not None and not (number and 0 <= value <= 1):
                raise ValueError(
                    f"`{name}` must be a number in [0, 1], the range of the images: "
                    f"8/255, not 8. Received: {value!r}."
                )
        if self.steps is not None and self.steps < 0:
            raise ValueError(f"`steps` must be >= 0. Received: {self.steps!r}.")


def suite_attacks(
    name: str, strength: Strength, surrogate: Any = None
) -> dict[str, Attack]:
    """Return the attacks of a suite by name.

    Step sizes, scaled with epsilon, and numbers of steps are those of the paper.

    Args:
        name: a key of `SUITES`.
        strength: only its `epsilon`, `norm` and `loss` are used.
        surrogate: model on which transfer attacks craft their images, the robust
            teacher in the paper; None skips these attacks.

    Raises:
        ValueError: there is no such suite, or an attack does not support the norm.
    """
    if name not in SUITES:
        raise ValueError(
            f"`suite` must be one of {', '.join(SUITES)}. Received: {name!r}."
        )
    missing = left_out(name) if surrogate is None else []
    paper = Strength(strength.epsilon, norm=strength.norm, loss=strength.loss)
    names = [each for each in SUITES[name] if each not in missing]
    return named_attacks(names, paper, surrogate)


def left_out(suite: str) -> list[str]:
    """Return the attacks of a suite that are skipped without a surrogate."""
    return [name for name in SUITES[suite] if needs_surrogate(name)]


def named_attacks(
    names: Iterable[str], strength: Strength, surrogate: Any = None
) -> dict[str, Attack]:
    """Return registered attacks with the given settings, by name.

    Raises:
        ValueError: names are unknown, a surrogate is missing, or an attack does not
            support the norm; the message lists all mistakes.
    """
    names = [registry.canonical("attacks", name) for name in names]
    if mistakes := find_mistakes(
        names, has_surrogate=surrogate is not None, norm=strength.norm
    ):
        raise ValueError("\n".join(mistakes))
    if strength.loss is not None and not set(names) & set(OWN_LOSS):
        raise ValueError(no_use_for_loss(names))
    return {name: _made(name, strength, surrogate) for name in names}


def no_use_for_loss(names: Iterable[str]) -> str:
    """Return the error for a loss that none of the attacks can maximize."""
    return (
        f"Your own loss is for the attacks {', '.join(OWN_LOSS)}. Received: "
        f"{', '.join(names)}. Add one of them."
    )


def find_mistakes(
    names: Iterable[str], *, has_surrogate: bool, norm: str = "linf"
) -> list[str]:
    """Return one message for each attack that is unknown or cannot be built.

    No attack is imported, so that a command can report mistakes before it loads Keras.

    Args:
        names: names of attacks.
        has_surrogate: whether a surrogate is available for transfer attacks.
        norm: norm of the ball, a name in `NORMS`.
    """
    mistakes = []
    for name in names:
        try:
            if needs_surrogate(name) and not has_surrogate:
                mistakes.append(
                    f"The attack {name!r} crafts its images on another model and needs "
                    "a surrogate. Received: none."
                )
            if norm not in (supported := registry.norms(name)):
                able = [a for a in registry.ATTACKS if norm in registry.norms(a)]
                only = " and ".join(map(repr, supported))
                mistakes.append(
                    f"The norm {norm!r} is supported by {', '.join(able)}. Received: "
                    f"{name!r}, which supports only {only}."
                )
        except registry.RegistryError as error:
            mistakes.append(str(error))
    return mistakes


def needs_surrogate(name: str) -> bool:
    """Return whether a registered attack crafts its images on another model.

    Raises:
        RegistryError: no attack has this name.
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
            f"{name!r} must return a kmtard.attacks.Attack. Received: an object of "
            f"type {type(attack).__name__}."
        )
    if strength.loss is not None and name in OWN_LOSS:
        # The function that made the attack has no such argument.
        attack = type(attack)(**{**attack.get_config(), "loss": strength.loss})
    return attack
