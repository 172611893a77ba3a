"""Recipes: a TOML file is read, overridden, validated and resolved.

Light modules live here: they load no Keras and no NumPy, and import nothing of kmtard
but `kmtard.registry`.
"""

from kmtard.recipe.errors import Mistake, RecipeError
from kmtard.recipe.load import SMOKE_SCHEDULE, load, teacher_key
from kmtard.recipe.schema import Recipe, Training

__all__ = [
    "SMOKE_SCHEDULE",
    "Mistake",
    "Recipe",
    "RecipeError",
    "Training",
    "load",
    "teacher_key",
]
