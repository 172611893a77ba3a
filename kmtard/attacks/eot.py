"""Expectation over transformation: any attack on the average of a randomized model."""

from __future__ import annotations

from typing import Any

import keras

from kmtard.attacks.base import Attack, AttackBatch, Found
from kmtard.attacks.classifier import Classifier
from kmtard.registry.ranges import Repeats, checked


@keras.saving.register_keras_serializable(package="kmtard")
class EOT(Attack):
    """Run an attack on the mean logits of several passes of a randomized model.

    Athalye et al. 2018, "Synthesizing Robust Adversarial Examples", as in foolbox. The
    attack sees the mean of the logits, and so the gradient of a loss of this mean. The
    final prediction on the adversarial image is one pass of the model itself. On a
    model without randomness, the result is that of the attack, at a higher cost.

    `APGD(eot=...)` and AutoAttack's version "rand" average gradients instead.

    Args:
        attack: any attack.
        samples: number of passes, >= 1, whose logits are averaged at each point.

    Raises:
        TypeError: `attack` is not an `Attack`.
        ValueError: `samples` is out of its range.

    Example:
        >>> attack = kmtard.attacks.EOT(kmtard.attacks.PGD(0.1), samples=5)
        >>> x_adv = attack(model, x, y)
    """

    @checked
    def __init__(self, attack: Attack, *, samples: Repeats = 10) -> None:
        if not isinstance(attack, Attack):
            raise TypeError(
                f"`attack` must be a kmtard attack such as PGD(). Received: {attack!r}."
            )
        self.attack = attack
        self.samples = int(samples)
        self.epsilon = attack.epsilon
        self.can_target = attack.can_target

    def attack_batch(self, classifier: Classifier, batch: AttackBatch) -> Found:
        """Attack the average; see `Attack.attack_batch`."""
        found = self.attack.attack_batch(classifier.averaged(self.samples), batch)
        counts = found.queries, found.forwards, found.backwards
        return Found(found.x_adv, *(self.samples * count for count in counts))

    def _settings(self) -> dict[str, Any]:
        return {"attack": self.attack, "samples": self.samples}

    def get_config(self) -> dict:
        """Return the arguments of an equal attack."""
        attack = keras.saving.serialize_keras_object(self.attack)
        return {**self._settings(), "attack": attack}

    @classmethod
    def from_config(cls, config: dict) -> EOT:
        """Return the attack whose `get_config` returned `config`."""
        attack = keras.saving.deserialize_keras_object(config["attack"])
        return cls(**{**config, "attack": attack})
