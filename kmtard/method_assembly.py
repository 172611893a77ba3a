"""What trains a network, as a recipe has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kmtard import methods
from kmtard.attacks import PGD
from kmtard.judgement import selection_attack
from kmtard.optimizers import L2SGD
from kmtard.recipe import Recipe, Training


def build_method(
    recipe: Recipe, training: Training, network: Any, teachers: Mapping[Any, Any]
) -> tuple[Any, list]:
    """Build and compile what trains a network; return it with its driving callbacks."""
    model, driving = methods.build(
        training.method,
        student=network,
        **teachers,
        attack=PGD(**training.attack.model_dump()),
        evaluation_attack=selection_attack(recipe),
        seed=recipe.runtime.seed,
        **training.method_options,
    )
    model.compile(
        L2SGD(**training.optimizer.model_dump()), jit_compile=recipe.runtime.jit
    )
    return model, driving
