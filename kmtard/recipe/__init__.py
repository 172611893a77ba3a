"""Recipes: a TOML file is read, overridden, validated and resolved.

These modules are quick to import: they load neither Keras nor NumPy, and import only
`kmtard.registry` from the rest of kmtard.

- `document` reads TOML, and `overrides` applies the changes from the command line.
- `validation` builds the resolved recipe in one pass. It uses the models of `schema`,
  the `options` of methods and networks, and the `relations` between sections.
- `errors` writes the error messages, `identity` decides which settings are equal, and
  `code` finds the user's own code that a recipe names.
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
from kmtard.recipe.overrides import SMOKE_SCHEDULE, implied
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
    "implied",
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
