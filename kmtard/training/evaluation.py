"""How a run judges its networks when they are trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kmtard.attacks import Attack
from kmtard.data.pipeline import Split
from kmtard.evaluation.accuracy import CLEAN, accuracies
from kmtard.evaluation.evaluator import evaluate
from kmtard.evaluation.fingerprints import settings_of
from kmtard.evaluation.result import Evaluation
from kmtard.evaluation.suites import SUITES, Strength, named_attacks, needs_surrogate
from kmtard.recipe import Recipe

SELECTION = "pgd_trades"
"""The attack by which the best epoch is chosen."""

SHOWN = ("epsilon", "step_size", "steps", "queries")


def selection_attack(recipe: Recipe) -> Attack:
    """Return the attack of the evaluations during training."""
    return named_attacks([SELECTION], _strength(recipe))[SELECTION]


def transfers(recipe: Recipe) -> bool:
    """Tell whether images are to be crafted on the robust teacher."""
    evaluation = recipe.evaluation
    names = (*evaluation.attacks, *SUITES.get(evaluation.suite or "", ()))
    return recipe.adv_teacher is not None and any(map(needs_surrogate, names))


def judge(
    recipe: Recipe,
    networks: Mapping[str, Any],
    test: Split,
    seconds: Mapping[str, float],
    *,
    tell: Callable[[dict[str, Any]], None],
    between: Callable[[], None],
) -> dict[str, Any]:
    """Attack every network with the recipe's attacks.

    Args:
        recipe: resolved.
        networks: role -> network; the robust teacher is the surrogate of transfers.
        test: the images.
        seconds: role -> how long it was trained.
        tell: called with each network's row.
        between: called before each batch; may raise to end it all.

    Returns:
        `images`, `attacks` (name -> settings) and `rows`, one a network.
    """
    surrogate = networks.get("adv_teacher")
    attacks = named_attacks(recipe.evaluation.attacks, _strength(recipe), surrogate)
    rows = []
    for role, network in networks.items():
        scores = accuracies(
            network,
            test.images,
            test.labels,
            attacks,
            batch_size=recipe.data.batch_size,
            seed=recipe.runtime.seed,
            between=between,
        )
        robust = {name: scores[name] for name in attacks}
        row = {
            "role": role,
            "clean_accuracy": scores[CLEAN],
            "robust_accuracy": robust,
            "w_robust_accuracy": {
                name: 0.5 * scores[CLEAN] + 0.5 * score
                for name, score in robust.items()
            },
            "seconds": seconds.get(role),
        }
        rows.append(row)
        tell(row)
    shown = {name: _described(attack) for name, attack in attacks.items()}
    return {"images": len(test), "attacks": shown, "rows": rows}


def judge_suite(
    recipe: Recipe,
    networks: Mapping[str, Any],
    test: Split,
    folder: Path,
    between: Callable[[], None],
) -> Evaluation:
    """Attack the student with the recipe's suite, batch by batch into the run's folder.

    What is finished is not done again when the run is resumed.
    """
    return evaluate(
        networks["student"],
        test,
        suite=recipe.evaluation.suite,
        epsilon=_strength(recipe).epsilon,
        surrogate=networks.get("adv_teacher"),
        seed=recipe.runtime.seed,
        batch_size=recipe.data.batch_size,
        folder=folder,
        name="student",
        watch=lambda step: between(),
    )


def _strength(recipe: Recipe) -> Strength:
    evaluation = recipe.evaluation
    epsilon = evaluation.epsilon
    if epsilon is None:
        epsilon = recipe.attack.epsilon
    return Strength(epsilon, evaluation.step_size, evaluation.steps)


def _described(attack: Attack) -> dict[str, Any]:
    settings = settings_of(attack)
    settings = settings.get("attack", settings)
    return {key: settings[key] for key in SHOWN if key in settings}
