"""Impossible options are refused by the recipe, before anything is built."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kmtard import registry
from kmtard.recipe import RecipeError, load
from kmtard.registry import ranges

pytestmark = pytest.mark.once("jax")

RECIPE = Path(__file__).parents[3] / "recipes" / "digits.toml"
NO_NUMBER = ("1e308", "-1e308", "nan", "inf", "true", '"x"', "[[1]]", "{a = 1}")
IMPOSSIBLE = {
    "attack_warmup": ("-1", "0.5", "1000000000"),
    "temperature": ("0", "-1", "[0, 1]", "[1, 2, 3]"),
    "alpha": ("1.1", "-0.1"),
    "beta": ("-1",),
    "clip": ("1.1", "-1"),
    "w_teacher": ("1.1", "-1"),
    "adv_share": ("1.1", "-1"),
    "weight_rate": ("1.1", "-1"),
    "temperature_rate": ("-1",),
    "temperature_bounds": ("[2, 1]", "[0, 1]", "[1]", "1"),
    "bounds": ("[2, 1]", "[0, 1]", "[1]", "1"),
    "class_scale": ("0", "-1"),
    "rate": ("-1",),
    "begin": ("-1", "1.5", "1000000000000000000"),
}


def numbers(method: str) -> list[str]:
    """Return the options of a method that may be numbers."""
    options = registry.options("methods", method).items()
    return [key for key, option in options if "number" in ranges.words(option.hint)]


def mistakes(*overrides: str, **options: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        load(RECIPE, overrides=overrides, **options)
    return str(caught.value)


def rounds(keys: list[str]) -> Iterator[dict[str, str]]:
    """Yield a value for each key, until all that are impossible have had their turn."""
    values = {key: (*NO_NUMBER, *IMPOSSIBLE[key]) for key in keys}
    for index in range(max(map(len, values.values()), default=0)):
        yield {key: each[index % len(each)] for key, each in values.items()}


@pytest.mark.parametrize("method", registry.METHODS)
def test_impossible_numbers_of_every_method(method: str) -> None:
    for values in rounds(numbers(method)):
        overrides = [f"method.{key}={value}" for key, value in values.items()]
        said = mistakes(*overrides, method=method)
        for key in values:
            assert f"--set: method.{key}" in said, (key, values[key])


@pytest.mark.parametrize("network", registry.NETWORKS)
def test_impossible_options_of_every_network(network: str) -> None:
    name = f"student.network={network}"
    for value in ('"cifar"', "[0.5, inf]", "[true]", "1"):
        assert "student.options.std" in mistakes(name, f"student.options.std={value}")
    assert "std = [0]" in mistakes(name, "student.options.std=[0]")


def test_all_impossible_values_are_told_at_once() -> None:
    said = mistakes(
        "method.temperature=0",
        "attack.steps=1000000000000000000",
        "student.options.width=0",
        method="ard",
    )
    assert said.splitlines() == [
        f"--set: {line}"
        for line in (
            "attack.steps = 1000000000000000000: out of range; allowed: <= 10000",
            "student.options.width = 0: out of range; allowed: >= 1",
            "method.temperature = 0: out of range; allowed: > 0",
        )
    ]


def test_a_huge_key_or_value_makes_no_huge_error() -> None:
    for override in (
        "x" * 100_000,
        f"data.{'x' * 100_000}=1",
        f"data.pad={'x' * 10**5}",
    ):
        assert len(mistakes(override)) < 1000


def test_a_number_of_a_thousand_digits() -> None:
    assert len(mistakes(f"data.pad={'9' * 1000}")) < 500
    assert len(mistakes(f"optimizer.learning_rate={'9' * 1000}")) < 500
