"""Short trainings of the robust teacher that choose how strongly it is trained.

A model without BatchNorm that is trained too strongly soon gives the same output for
all images. One that is trained too weakly stays as fragile as it was. Which one it is
cannot be seen from the layers.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import keras

from kmtard.data.pipeline import DataSet, TrainingStream, evaluation_dataset
from kmtard.hardening.examination import Tell
from kmtard.recipe import Recipe
from kmtard.training.build import build_method, build_network

SHARE = 0.2
"""Largest share of the time for all tries."""

WARMUP = 0.5
"""Share of a training in which the attack grows to its full radius."""

MOST_STEPS = 200
FEWEST_STEPS = 100
"""Shorter tries prefer what changes the model least."""
JUDGED_IMAGES = 400


class Strength(NamedTuple):
    """How strongly a network is trained.

    Attributes:
        learning_rate: of the robust teacher, and of the student.
        beta: weight of the robust term of TRADES; None for SAT.
    """

    learning_rate: float
    beta: float | None

    def method(self) -> dict[str, Any]:
        """Return the robust teacher's method, as in a recipe."""
        if self.beta is None:
            return {"name": "sat"}
        return {"name": "trades", "beta": self.beta}

    def __str__(self) -> str:
        """Describe the training."""
        how = "SAT" if self.beta is None else f"TRADES with beta {self.beta:g}"
        return f"{how}, learning rate {self.learning_rate:g}"


CANDIDATES = (
    Strength(0.01, 3.0),
    Strength(0.003, 1.0),
    Strength(0.03, None),
    Strength(0.01, None),
)
"""SAT, because the attack of TRADES may fail: the divergence that it maximizes also
grows where the network becomes more certain of its answer. In smooth networks, many
attacks take this way and find nothing. The attack of SAT maximizes the cross-entropy.
"""
DEFAULT = Strength(0.01, 3.0)


def warmup(steps: int) -> int:
    """Return the steps in which the attack of a training grows to its full radius.

    With the full radius from the start, the first steps destroy what the model knows.

    Args:
        steps: of the whole training.
    """
    return math.ceil(WARMUP * steps)


def steps_for(seconds: float, first: float, later: float) -> int:
    """Return the steps of each try that fit into a time; 0 if too few do.

    Args:
        seconds: time for everything.
        first: seconds of the first step and evaluation, with compilation.
        later: seconds of each later step.

    Example:
        >>> steps_for(600, first=10, later=0.15)
        133
        >>> steps_for(60, first=10, later=0.15)
        0
    """
    left = SHARE * seconds / len(CANDIDATES) - first
    steps = min(MOST_STEPS, math.floor(left / later))
    return steps if steps >= FEWEST_STEPS else 0


def choose(recipe: Recipe, data: DataSet, steps: int, tell: Tell) -> Strength:
    """Train the robust teacher a little with each strength; return the best one.

    Args:
        recipe: the recipe, which trains the robust teacher.
        data: the images.
        steps: training steps of each try.
        tell: called with the result of each try.

    Returns:
        The strength with the highest W-Robust accuracy on held-out images.
    """
    train, held_out = data.hold_out(recipe.data.held_out or 0.1)
    judged = evaluation_dataset(
        (held_out or train).limit(JUDGED_IMAGES), recipe.data.batch_size
    )
    scores = {
        each: _score(recipe, data, train, judged, steps, each) for each in CANDIDATES
    }
    for each, score in scores.items():
        tell(f"tried {each} for {steps} steps: W-Robust {100 * score:.1f} %")
    return max(scores, key=lambda each: scores[each])


def _score(
    recipe: Recipe,
    data: DataSet,
    train: Any,
    judged: Any,
    steps: int,
    strength: Strength,
) -> float:
    """Return the W-Robust accuracy after a short training; 0 if it fails."""
    keras.mixed_precision.set_dtype_policy(recipe.runtime.precision)
    network = build_network(recipe, "adv_teacher", data)
    training = recipe.training("adv_teacher")
    rate = {"learning_rate": strength.learning_rate}
    own = strength.method()
    training = training.model_copy(
        update={
            "method": own.pop("name"),
            "method_options": {
                "attack_bn": training.method_options["attack_bn"],
                "attack_warmup": warmup(steps),
                **own,
            },
            "optimizer": training.optimizer.model_copy(update=rate),
        }
    )
    model, driving = build_method(recipe, training, network, {})
    keras.mixed_precision.set_dtype_policy("float32")
    stream = TrainingStream(
        train, batch_size=recipe.data.batch_size, seed=recipe.runtime.seed
    )
    epochs = max(1, round(steps / stream.steps_per_epoch))
    try:
        for epoch in range(epochs):
            stream.epoch.assign(epoch)
            skip = max(0, stream.steps_per_epoch - steps) if epochs == 1 else 0
            with stream.dataset(skip) as batches:
                model.fit(batches, shuffle=False, verbose=0, callbacks=driving)
        with judged:
            logs = model.evaluate(judged, verbose=0, return_dict=True)
    except FloatingPointError:
        return 0.0
    score = float(logs["w_robust_accuracy"])
    return score if math.isfinite(score) else 0.0
