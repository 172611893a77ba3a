"""Recipes as forms, without a screen."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from launcher.recipes.draft import Checked, Draft, check
from launcher.recipes.fields import Field
from launcher.recipes.recipe_files import RecipeFile

DIGITS = Path(__file__).parents[2] / "recipes" / "digits.toml"


def file_of(path: Path) -> RecipeFile:
    """Return a recipe as the list has it."""
    return RecipeFile(path, "here", document=tomllib.loads(path.read_text()))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Return a copy of the digits recipe."""
    path = tmp_path / "recipe.toml"
    path.write_text(DIGITS.read_text())
    return path


def fields(checked: Checked) -> dict[str, Field]:
    """Return the fields by key."""
    return {field.key: field for each in checked.sections for field in each.fields}


def checked(
    path: Path,
    edits: dict[str, str] | None = None,
    *,
    method: str | None = None,
    smoke: bool = False,
) -> Checked:
    """Check edits given by key; a field may come with another one's edit."""
    file, draft = file_of(path), Draft(method, smoke)
    for key, text in (edits or {}).items():
        form = fields(check(file, draft, Path("runs")))
        draft = draft.edited(form[key], text)
    return check(file, draft, Path("runs"))


def replaced(path: Path, old: str, new: str) -> None:
    """Change a recipe's text."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
