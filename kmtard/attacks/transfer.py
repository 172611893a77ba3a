"""Transfer attacks: images are crafted on one network and evaluated on another."""

from __future__ import annotations

from typing import Any

from kmtard.attacks.base import Attack, AttackBatch, Found
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.gradient import cw_inf, pgd_trades
from kmtard.attacks.momentum import di2_fgsm, mi_fgsm, ni_fgsm, ti_fgsm
from kmtard.registry.ranges import Radius, Steps


class Transfer(Attack):
    """Craft images on a surrogate with the true labels; evaluate them on the target.

    The surrogate is attacked without any query to the target, which only makes the
    final prediction of each image. The counted passes are those of the surrogate. If
    the target is its own surrogate, the result is that of the attack itself.

    Args:
        attack: the attack on the surrogate.
        surrogate: a model from the same images in [0, 1] to logits of the same classes,
            as in `Attack.run`, or its `Classifier`; the robust teacher in B-MTARD.

    Raises:
        TypeError: `attack` is not an `Attack`.

    Example:
        >>> attack = kmtard.attacks.Transfer(kmtard.attacks.PGD(), surrogate=teacher)
        >>> x_adv = attack(student, x, y)
    """

    def __init__(self, attack: Attack, *, surrogate: Any) -> None:
        if not isinstance(attack, Attack):
            raise TypeError(
                "`attack` must be a kmtard attack such as pgd_trades(). Received: "
                f"{attack!r}."
            )
        self.attack = attack
        self.surrogate = surrogate
        self.epsilon = attack.epsilon
        self.can_target = attack.can_target

    def attack_batch(self, classifier: Classifier, batch: AttackBatch) -> Found:
        """Attack the surrogate; see `Attack.attack_batch`.

        Raises:
            ValueError: the networks have different numbers of classes.
        """
        surrogate = classifier.other(self.surrogate, batch.x[:1])
        if surrogate.num_classes != classifier.num_classes:
            raise ValueError(
                "Surrogate and target must have the same classes. Received: a "
                f"surrogate with {surrogate.num_classes} classes and a target with "
                f"{classifier.num_classes}."
            )
        surrogate.inspect(batch.x)
        found = self.attack.attack_batch(surrogate, batch)
        return Found(found.x_adv, 0 * found.queries, found.forwards, found.backwards)

    def _settings(self) -> dict[str, Any]:
        return {"attack": self.attack, "surrogate": self.surrogate}


def transfer_pgd_trades(
    surrogate: Any,
    *,
    epsilon: Radius = 8 / 255,
    step_size: Radius = 0.003,
    steps: Steps = 20,
) -> Transfer:
    """`pgd_trades`, crafted on `surrogate`."""
    attack = pgd_trades(epsilon=epsilon, step_size=step_size, steps=steps)
    return Transfer(attack, surrogate=surrogate)


def transfer_cw_inf(
    surrogate: Any,
    *,
    epsilon: Radius = 8 / 255,
    step_size: Radius = 2 / 255,
    steps: Steps = 30,
) -> Transfer:
    """`cw_inf`, crafted on `surrogate`."""
    attack = cw_inf(epsilon=epsilon, step_size=step_size, steps=steps)
    return Transfer(attack, surrogate=surrogate)


def transfer_mi_fgsm(
    surrogate: Any,
    *,
    epsilon: Radius = 8 / 255,
    step_size: Radius = 2 / 255,
    steps: Steps = 10,
) -> Transfer:
    """`mi_fgsm`, crafted on `surrogate`."""
    attack = mi_fgsm(epsilon=epsilon, step_size=step_size, steps=steps)
    return Transfer(attack, surrogate=surrogate)


def transfer_ni_fgsm(
    surrogate: Any,
    *,
    epsilon: Radius = 8 / 255,
    step_size: Radius = 2 / 255,
    steps: Steps = 10,
) -> Transfer:
    """`ni_fgsm`, crafted on `surrogate`."""
    attack = ni_fgsm(epsilon=epsilon, step_size=step_size, steps=steps)
    return Transfer(attack, surrogate=surrogate)


def transfer_di2_fgsm(
    surrogate: Any,
    *,
    epsilon: Radius = 8 / 255,
    step_size: Radius = 2 / 255,
    steps: Steps = 10,
) -> Transfer:
    """`di2_fgsm`, crafted on `surrogate`."""
    attack = di2_fgsm(epsilon=epsilon, step_size=step_size, steps=steps)
    return Transfer(attack, surrogate=surrogate)


def transfer_ti_fgsm(
    surrogate: Any,
    *,
    epsilon: Radius = 8 / 255,
    step_size: Radius = 2 / 255,
    steps: Steps = 10,
) -> Transfer:
    """`ti_fgsm`, crafted on `surrogate`."""
    attack = ti_fgsm(epsilon=epsilon, step_size=step_size, steps=steps)
    return Transfer(attack, surrogate=surrogate)
