"""Attacks crafted on another network than the one that they are tried on."""

from __future__ import annotations

from typing import Any

import keras

from kmtard.attacks.base import Attack, AttackBatch, Found
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.gradient import cw_inf, pgd_trades
from kmtard.registry.ranges import Radius, Steps


class Transfer(Attack):
    """Craft on a surrogate with the true labels, judge on the target.

    Every image is attacked, whatever either network says of it. The target is asked
    once an image; forward and backward passes are the surrogate's. With the target as
    its own surrogate this is the attack itself.

    Args:
        attack: what crafts.
        surrogate: any Keras model from the same images in [0, 1] to logits of the same
            classes, or its `Classifier`; B-MTARD takes the robust teacher.

    Raises:
        TypeError: `attack` is no attack.

    Example:
        >>> attack = kmtard.attacks.Transfer(kmtard.attacks.PGD(), surrogate=teacher)
        >>> x_adv = attack(student, x, y)
    """

    def __init__(self, attack: Attack, *, surrogate: keras.Model | Classifier) -> None:
        if not isinstance(attack, Attack):
            raise TypeError(
                "`attack` must be a kmtard attack such as pgd_trades(). Received: "
                f"{attack!r}"
            )
        self.attack = attack
        self.surrogate = surrogate
        self.epsilon = attack.epsilon

    def attack_batch(self, classifier: Classifier, batch: AttackBatch) -> Found:
        """Attack the surrogate; see `Attack.attack_batch`.

        Raises:
            ValueError: the two networks do not have the same classes.
        """
        surrogate = classifier.other(self.surrogate, batch.x[:1])
        if surrogate.num_classes != classifier.num_classes:
            raise ValueError(
                "Surrogate and target must have the same classes. Received: "
                f"{surrogate.num_classes} and {classifier.num_classes} outputs."
            )
        surrogate.inspect(batch.x)
        found = self.attack.attack_batch(surrogate, batch)
        return Found(found.x_adv, 0 * found.queries, found.forwards, found.backwards)

    def _settings(self) -> dict[str, Any]:
        return {"attack": self.attack, "surrogate": self.surrogate}


def transfer_pgd_trades(
    surrogate: keras.Model | Classifier,
    *,
    epsilon: Radius = 8 / 255,
    step_size: Radius = 0.003,
    steps: Steps = 20,
) -> Transfer:
    """`pgd_trades` crafted on `surrogate`."""
    attack = pgd_trades(epsilon=epsilon, step_size=step_size, steps=steps)
    return Transfer(attack, surrogate=surrogate)


def transfer_cw_inf(
    surrogate: keras.Model | Classifier,
    *,
    epsilon: Radius = 8 / 255,
    step_size: Radius = 2 / 255,
    steps: Steps = 30,
) -> Transfer:
    """`cw_inf` crafted on `surrogate`."""
    attack = cw_inf(epsilon=epsilon, step_size=step_size, steps=steps)
    return Transfer(attack, surrogate=surrogate)
