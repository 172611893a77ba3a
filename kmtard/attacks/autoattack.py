"""AutoAttack (Croce and Hein 2020): a fixed sequence of attacks without parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

from kmtard.attacks.apgd import APGD
from kmtard.attacks.arguments import one_of
from kmtard.attacks.base import Attack, AttackBatch, AttackResult, Found, select
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.fab import FAB
from kmtard.attacks.norms import NORMS, column
from kmtard.attacks.square import Square
from kmtard.backend.types import Array, Labels
from kmtard.registry.ranges import Radius, checked

VERSIONS = ("standard", "plus", "rand")

SQUARE_QUERIES = 5001
"""AutoAttack's 5000 iterations, plus the start."""


@dataclass(frozen=True)
class Stage:
    """The result of one attack of the sequence, one entry per image.

    Attributes:
        robust: bool (N,), whether the model classifies the image correctly both clean
            and under this attack; in a sequence, also under all earlier attacks.
        queries: int (N,), number of images on which the attack queried the model.
        forwards: int (N,), number of forward passes.
        backwards: int (N,), number of backward passes.
    """

    robust: np.ndarray
    queries: np.ndarray
    forwards: np.ndarray
    backwards: np.ndarray

    @property
    def robust_accuracy(self) -> float:
        """Share of robust images among all images, in [0, 1]."""
        return float(self.robust.mean())


@dataclass(frozen=True)
class AutoAttackResult(AttackResult):
    """The result of AutoAttack, and of each attack in its sequence.

    Attributes:
        stages: name of the attack -> its result, in order.
    """

    stages: dict[str, Stage] = field(default_factory=dict)


def members(
    epsilon: Radius, version: str = "standard", norm: str = "linf"
) -> dict[str, Attack]:
    """Return the attacks of a version of AutoAttack, in order.

    Args:
        epsilon: radius in pixel intensity, >= 0.
        version: "standard"; "plus", with more attacks and restarts; or "rand", with
            gradients averaged over 20 passes, for randomized models.
        norm: "linf" or "l2".

    Returns:
        Name -> attack.

    Raises:
        ValueError: an argument is unknown, or the norm is L1.
    """
    one_of("version", version, VERSIONS)
    if norm == "l1":
        raise ValueError(
            "`norm` must be 'linf' or 'l2', because FAB and Square have no version for "
            "L1 here. Received: 'l1'. Use apgd_ce and apgd_t, whose settings in L1 are "
            "those of AutoAttack."
        )
    one_of("norm", norm, NORMS)
    if version == "rand":
        return {
            "apgd-ce": APGD(epsilon, norm=norm, eot=20),
            "apgd-dlr": APGD(epsilon, loss="dlr", norm=norm, eot=20),
        }
    targeted = APGD(epsilon, loss="dlr", targets=9, norm=norm)
    square = Square(epsilon, queries=SQUARE_QUERIES, schedule="raw", norm=norm)
    if version == "standard":
        return {
            "apgd-ce": APGD(epsilon, norm=norm),
            "apgd-t": targeted,
            "fab-t": FAB(epsilon, norm=norm),
            "square": square,
        }
    return {
        "apgd-ce": APGD(epsilon, restarts=5, norm=norm),
        "apgd-dlr": APGD(epsilon, restarts=5, loss="dlr", norm=norm),
        "fab": FAB(epsilon, restarts=5, targeted=False, norm=norm),
        "square": square,
        "apgd-t": targeted,
        "fab-t": FAB(epsilon, norm=norm),
    }


@keras.saving.register_keras_serializable(package="kmtard")
class AutoAttack(Attack):
    """Worst case per image over a fixed sequence of attacks.

    Each attack works on the images that no earlier attack has fooled. The result for an
    image comes from the first attack that fools it; otherwise it is the clean image.
    Images that the model misclassifies clean are not attacked. An image is robust if
    the model classifies it correctly both clean and under every attack. There is no
    final prediction, so that a randomized model has no second chance.

    Args:
        epsilon: radius in pixel intensity, >= 0.
        version: a name in `VERSIONS`; see `members`.
        norm: "linf" or "l2"; RobustBench's radius for CIFAR-10 in L2 is 0.5.
        individual: whether every attack works on all correctly classified images, to
            compare the attacks. The returned images are the same.
        attacks: name -> attack, a sequence to run instead of a version.

    Raises:
        ValueError: an argument is unknown.

    Example:
        >>> result = kmtard.attacks.AutoAttack(8 / 255).run(model, x, y)
        >>> list(result.stages)
        ['apgd-ce', 'apgd-t', 'fab-t', 'square']
    """

    @checked
    def __init__(
        self,
        epsilon: Radius = 8 / 255,
        *,
        version: str = "standard",
        norm: str = "linf",
        individual: bool = False,
        attacks: Mapping[str, Attack] | None = None,
    ) -> None:
        self.epsilon = epsilon
        self.version = version
        self.norm = norm
        self.individual = individual
        self._own = attacks
        self.attacks = dict(attacks or members(epsilon, version, norm))

    def run(self, model: Any, x: Array, y: Labels, **kwargs: Any) -> AutoAttackResult:
        """Attack `model` at (`x`, `y`); see `Attack.run`.

        Returns:
            The result, with one entry in `stages` for each attack.
        """
        recorder = _Recorder(self)
        result = Attack.run(recorder, model, x, y, **kwargs)
        found = {**vars(result), **recorder.answers()}
        return AutoAttackResult(**found, stages=recorder.stages())

    def attack_batch(self, classifier: Classifier, batch: AttackBatch) -> Found:
        """Return the result of the first successful attack for each image."""
        return self.in_stages(classifier, batch)[0]

    def in_stages(
        self, classifier: Classifier, batch: AttackBatch
    ) -> tuple[Found, dict[str, Stage], np.ndarray]:
        """Attack one batch and return the result of each attack too.

        Args:
            classifier: the attacked model.
            batch: images, labels, noise, and the rows to attack.

        Returns:
            The total result, the result of each attack, and int (batch,), the
            prediction under the attack that fooled an image, or else the clean one.
        """
        predictions = classifier.predict(batch.x)
        robust = correct = batch.where_unfooled(predictions)
        x_adv, stages = batch.x, {}
        for name, attack in self.attacks.items():
            attacked = correct if self.individual else robust
            classifier.doing = name
            classifier.pulse()
            found, fooled, predicted = _evaluated(attack, classifier, batch, attacked)
            first = fooled & robust
            x_adv = ops.where(first.reshape(column(batch.x)), found.x_adv, x_adv)
            predictions = np.where(first, predicted, predictions)
            robust = robust & ~fooled
            counts = found.queries, found.forwards, found.backwards
            stages[name] = Stage(attacked & ~fooled, *counts)
        classifier.doing = ""
        checked = batch.active.astype(int)
        total = Found(
            x_adv,
            checked + sum(stage.queries for stage in stages.values()),
            checked + sum(stage.forwards for stage in stages.values()),
            0 * checked + sum(stage.backwards for stage in stages.values()),
        )
        return total, stages, predictions

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "attacks": self._own}

    def get_config(self) -> dict:
        """Return the arguments of an equal attack."""
        attacks = keras.saving.serialize_keras_object(self._own)
        return {**self._settings(), "attacks": attacks}

    @classmethod
    def from_config(cls, config: dict) -> AutoAttack:
        """Return the attack whose `get_config` returned `config`."""
        attacks = keras.saving.deserialize_keras_object(config["attacks"])
        return cls(**{**config, "attacks": attacks})


class _Recorder(Attack):
    """Runs the batches of an `AutoAttack` and records the result of each attack."""

    def __init__(self, attack: AutoAttack) -> None:
        self._attack = attack
        self.epsilon = attack.epsilon
        self._parts: list[dict[str, Stage]] = []
        self._success: list[np.ndarray] = []
        self._predictions: list[np.ndarray] = []

    def _check_target(self, targeted: bool) -> None:
        self._attack._check_target(targeted)

    def attack_batch(self, classifier: Classifier, batch: AttackBatch) -> Found:
        found, stages, predictions = self._attack.in_stages(classifier, batch)
        active = batch.active
        self._success.append((~batch.where_unfooled(predictions))[active])
        self._predictions.append(predictions[active])
        self._parts.append(
            {
                name: Stage(*(values[active] for values in vars(stage).values()))
                for name, stage in stages.items()
            }
        )
        return found

    def answers(self) -> dict[str, np.ndarray]:
        """Return which images were fooled, and the predictions that decided this."""
        return {
            "success": np.concatenate(self._success),
            "predictions": np.concatenate(self._predictions),
        }

    def stages(self) -> dict[str, Stage]:
        """Return the results of each attack, concatenated over all batches."""
        return {
            name: Stage(
                *(
                    np.concatenate(values)
                    for values in zip(
                        *(vars(part[name]).values() for part in self._parts),
                        strict=True,
                    )
                )
            )
            for name in self._attack.attacks
        }


def _evaluated(
    attack: Attack, classifier: Classifier, batch: AttackBatch, active: np.ndarray
) -> tuple[Found, np.ndarray, np.ndarray]:
    """Run an attack on the active rows of a batch.

    Returns:
        The result, bool (batch,) for fooled rows, and int (batch,) for the predictions.
    """
    none = np.zeros(len(active), int)
    if not active.any():
        return Found(batch.x, none, none, none), active, none
    rows = select(active)
    part = batch.take(rows)
    found = attack.attack_batch(classifier, part)
    predicted = classifier.predict(found.x_adv)
    wrong = part.fooled(predicted)
    queries, forwards, backwards, fooled, classes = (
        rows.scatter(none, counts)
        for counts in (
            *(found.queries, found.forwards, found.backwards),
            *(wrong, predicted),
        )
    )
    x_adv = rows.scatter(batch.x, found.x_adv)
    result = Found(x_adv, queries, forwards + active, backwards)
    return result, fooled.astype(bool), classes


def autoattack_rand(*, epsilon: Radius = 8 / 255, norm: str = "linf") -> AutoAttack:
    """AutoAttack for randomized models: gradients averaged over 20 passes."""
    return AutoAttack(epsilon, version="rand", norm=norm)
