"""Evaluate the networks of a run as its recipe says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kmtard.attacks import Attack
from kmtard.data.pipeline import Split
from kmtard.evaluation.evaluator import (
    Candidate,
    choose_attacks,
    evaluate_networks,
    missing_surrogate,
)
from kmtard.evaluation.images import ImageSet
from kmtard.evaluation.result import Evaluation, NetworkEvaluation
from kmtard.evaluation.suites import SUITES, Strength, named_attacks, needs_surrogate
from kmtard.recipe import Recipe
from kmtard.runs import Run
from kmtard.runs.phase import SELECTION
from kmtard.training.subject import image_set_name, network_name, trained_accuracy


def selection_attack(recipe: Recipe) -> Attack:
    """Return the attack for the evaluations during training."""
    return named_attacks([SELECTION], _strength(recipe))[SELECTION]


def transfers(recipe: Recipe) -> bool:
    """Return whether the recipe has attacks that use the robust teacher's images."""
    evaluation = recipe.evaluation
    names = (*evaluation.attacks, *SUITES.get(evaluation.suite or "", ()))
    return recipe.adv_teacher is not None and any(map(needs_surrogate, names))


def evaluate_run(
    recipe: Recipe,
    run: Run,
    networks: Mapping[str, Any],
    test: Split,
    *,
    seconds: Mapping[str, float],
    tell: Callable[[dict[str, Any]], None],
    between: Callable[[], None],
) -> Evaluation:
    """Evaluate the networks of a run, and save each batch in its folder.

    All networks are attacked with the recipe's attacks, and the student also with its
    suite. A resumed run does not repeat finished parts.

    Args:
        recipe: the resolved recipe.
        run: the run.
        networks: role -> network. Transfer attacks craft their images on the robust
            teacher.
        test: the test images.
        seconds: role -> duration of its training in seconds.
        tell: called with the row of each finished network, the student first.
        between: called before each attack and after each batch. It may raise an
            exception to end the evaluation.

    Returns:
        The evaluation that evaluation.json holds.
    """
    settings, strength = recipe.evaluation, _strength(recipe)
    surrogate = networks.get("adv_teacher")
    candidates = []
    for role in sorted(networks, key=lambda each: each != "student"):
        suite = settings.suite if role == "student" else None
        candidate = Candidate(
            model=networks[role],
            attacks=choose_attacks(settings.attacks, suite, strength, surrogate),
            name=network_name(run, role),
            role=role,
            seconds=seconds.get(role),
            findings=missing_surrogate(suite, surrogate),
            trained_accuracy=trained_accuracy(run, role),
        )
        candidates.append(candidate)
    return evaluate_networks(
        candidates,
        ImageSet.of_split(image_set_name(recipe.data.name), test),
        strength=strength,
        headline=settings.headline,
        seed=recipe.runtime.seed,
        batch_size=recipe.data.batch_size,
        folder=run.path,
        own=True,
        # Not within a batch, because its finished part would be lost.
        watch=lambda step: between() if step.doing is None else None,
        tell=lambda network, headline: tell(row(network, headline)),
    )


def row(network: NetworkEvaluation, headline: str | None) -> dict[str, Any]:
    """Return the accuracies of a network as they are written in an event."""
    return {
        "role": network.role,
        "clean_accuracy": network.clean_accuracy,
        "robust_accuracy": network.robust_accuracy,
        "w_robust_accuracy": network.w_robust_accuracy,
        "headline": headline,
        "seconds": network.seconds,
    }


def _strength(recipe: Recipe) -> Strength:
    evaluation = recipe.evaluation
    epsilon = evaluation.epsilon
    if epsilon is None:
        epsilon = recipe.attack.epsilon
    norm = evaluation.norm or recipe.attack.norm
    return Strength(epsilon, evaluation.step_size, evaluation.steps, norm)
