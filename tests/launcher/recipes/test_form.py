"""The form of a recipe says what --set can say, and no more."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmtard.recipe import load
from launcher.recipes.draft import Draft, check
from launcher.recipes.fields import Field, written
from launcher.recipes.recipe_files import RecipeFile
from tests.launcher.form_fixtures import checked, fields, recipe, replaced

__all__ = ["recipe"]


def test_every_key_of_the_schema_is_a_field(recipe: Path) -> None:
    keys = set(fields(checked(recipe)))
    resolved = tomllib.loads(load(recipe).to_toml())
    del resolved["method"]["name"]  # it has a place of its own

    def leaves(table: dict[str, object], prefix: str = "") -> set[str]:
        found = set()
        for key, value in table.items():
            if isinstance(value, dict):
                found |= leaves(value, f"{prefix}{key}.")
            else:
                found.add(prefix + key)
        return found

    assert leaves(resolved) <= keys


def test_options_are_explained_by_their_docstring(recipe: Path) -> None:
    found = fields(checked(recipe))
    assert found["method.attack_bn"].help.startswith("mode of BatchNorm")
    assert found["method.temperature_bounds"].help == (
        "(low, high) of both temperatures, 0 < low <= high."
    )
    assert found["student.options.width"].help.startswith("Channels of the first conv")


@pytest.mark.parametrize(
    ("key", "kind", "allowed"),
    [
        ("data.flip", "flag", "on or off"),
        ("data.batch_size", "integer", "whole number, >= 1, <= 65536"),
        ("data.held_out", "number", ">= 0, < 1"),
        ("data.directory", "text", "text"),
        ("data.name", "choice", "one of the list"),
        ("schedule.milestones", "list", "commas"),
        ("evaluation.attacks", "list", "commas"),
        ("runtime.jit", "choice", "one of the list"),
        ("runtime.devices", "value", '"all" or a whole number >= 1'),
        ("method.temperature_bounds", "list", "each a number > 0, <= 1000"),
        ("method.temperature", "value", "a number > 0, <= 1000 or a list of 2"),
        ("method.attack_bn", "choice", "one of the list"),
    ],
)
def test_kinds_and_ranges(recipe: Path, key: str, kind: str, allowed: str) -> None:
    field = fields(checked(recipe))[key]
    assert field.kind == kind
    assert allowed in field.allowed


def test_fields_have_the_help_of_the_schema(recipe: Path) -> None:
    for field in fields(checked(recipe)).values():
        assert field.help
        assert field.owner or field.help.endswith(".")
        assert field.choices or field.kind != "choice"


@given(text=st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])))
@settings(max_examples=200, deadline=None)
def test_any_text_arrives_as_it_is(text: str) -> None:
    field = Field(("data", "directory"), "text")
    key, _, value = field.argument(text).partition("=")
    assert key == "data.directory"
    try:
        found = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        found = value.strip()
    assert found == text


@given(
    st.recursive(
        st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), inner)
        ),
        max_leaves=5,
    )
)
@settings(max_examples=100, deadline=None)
def test_values_are_written_so_that_they_are_read_again(value: object) -> None:
    text = written(value)
    try:
        found = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        found = text
    assert found == value


def test_a_file_that_is_no_toml_has_no_form(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("[data")
    result = check(RecipeFile(path, "here"), Draft(), Path("runs"))
    assert result.sections == ()
    assert "expected TOML" in result.mistakes[0].message


def test_a_method_brings_its_options_and_adjustments(recipe: Path) -> None:
    form = fields(checked(recipe, method="score"))
    assert form["method.clip"].value == "0.3"
    assert form["optimizer.learning_rate"].value == "0.05"
    assert form["optimizer.weight_decay"].value == "0.0005"
    assert "method.temperature" not in form
    assert fields(checked(recipe))["optimizer.learning_rate"].value == "0.1"


def test_teachers_that_a_method_needs_have_fields_where_the_file_has_none(
    recipe: Path,
) -> None:
    text = recipe.read_text()
    start, end = text.index("[adv_teacher]"), text.index("[method]")
    recipe.write_text(text[:start] + text[end:])
    assert "adv_teacher.network" in fields(checked(recipe))
    assert "adv_teacher.network" not in fields(checked(recipe, method="natural"))
    filled = checked(
        recipe,
        {
            "adv_teacher.network": "small_cnn",
            "adv_teacher.train": "true",
            "adv_teacher.method.name": "trades",
        },
    )
    assert filled.mistakes == ()


def test_custom_names_stay_possible(recipe: Path) -> None:
    replaced(
        recipe,
        'network = "small_cnn"',
        'network = "kmtard.networks.small_cnn:small_cnn"',
    )
    result = checked(recipe)
    assert result.mistakes == ()
    field = fields(result)["student.network"]
    assert re.fullmatch(r".+:small_cnn", field.value)
    assert "student.options.width" in fields(result)
