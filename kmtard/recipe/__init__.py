"""Recipes: a TOML file is read, overridden, validated and resolved.

Light modules live here: they load no Keras and no NumPy, and import nothing of kmtard
but `kmtard.registry`. `document` reads TOML, `overrides` writes
what the command line changes into it, and `validation` makes the resolved recipe of it
in one pass, by the models of `schema`, the `options` of methods and networks, and the
`relations` between sections. `errors` words what is wrong, `identity` tells equal
settings, `code` finds the code that a recipe names.
"""

from kmtard.recipe.code import foreign_reason, named_code
from kmtard.recipe.document import (
    LARGEST,
    Table,
    method_key,
    parse,
    read_text,
    table_at,
)
from kmtard.recipe.errors import Mistake, RecipeError, key_text
from kmtard.recipe.identity import settings_key, teacher_key
from kmtard.recipe.load import load
from kmtard.recipe.overrides import SMOKE_SCHEDULE
from kmtard.recipe.schema import ADJUSTABLE, Recipe, Training

__all__ = [
    "ADJUSTABLE",
    "LARGEST",
    "SMOKE_SCHEDULE",
    "Mistake",
    "Recipe",
    "RecipeError",
    "Table",
    "Training",
    "foreign_reason",
    "key_text",
    "load",
    "method_key",
    "named_code",
    "parse",
    "read_text",
    "settings_key",
    "table_at",
    "teacher_key",
]
