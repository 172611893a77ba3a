"""Types that say which values they take."""

from __future__ import annotations

import inspect
import math
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from annotated_types import Interval

from kmtard import registry
from kmtard.recipe.options import _adapter
from kmtard.registry import ranges

pytestmark = pytest.mark.once("jax")

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    "hint, inside, outside",
    [
        (ranges.Radius, [0, 1, 0.5, np.float32(2)], [-1e-9, INF, NAN]),
        (ranges.AnyRadius, [0, INF], [-INF, NAN]),
        (ranges.PositiveShare, [1e-9, 1], [0, 1.1, True]),
        (ranges.InnerShare, [0.5], [0, 1]),
        (ranges.AtLeastOne, [1, 2], [0.9, 1e308]),
        (ranges.Steps, [0, 10_000, 2.0, np.int64(3)], [-1, 0.5, 10**18, True, INF]),
        (ranges.Bounds, [(1, 2), [2.0, 2.0]], [(2, 1), (0, 1), (1,), 1, (1, NAN)]),
        (ranges.Mean, [None, (), (0.1,), "cifar10"], ["cifar", (INF,), 0.5, b"x"]),
        (Literal["a", 1], ["a", 1], ["b", True, 1.5, np.zeros(2)]),
        (bool, [True], [1, "true"]),
        (ranges.Positive | tuple[ranges.Positive, ranges.Positive], [1, (1, 2)], [0]),
    ],
)
def test_values_that_a_type_takes(hint, inside, outside):
    for value in inside:
        ranges.check("x", value, hint)
    for value in [*outside, object()]:
        with pytest.raises(ValueError, match="`x` must be .* Received: "):
            ranges.check("x", value, hint)


def test_words():
    assert ranges.words(ranges.Positive) == "a number > 0, <= 1000"
    assert ranges.words(ranges.Radius) == "a number >= 0, finite"
    assert ranges.words(ranges.Bounds) == (
        "a list of 2, each a number > 0, <= 1000 in ascending order"
    )
    assert ranges.words(Literal["a", "b"] | None) == '"a" or "b" or None'
    assert ranges.words(tuple[int, ...]) == "a list, each a whole number"


def test_a_long_value_is_cut():
    with pytest.raises(ValueError) as raised:
        ranges.check("x", "a" * 10**6, ranges.Share)
    assert len(str(raised.value)) < 300


def test_checked_keeps_the_signature_and_what_python_says():
    @ranges.checked
    def scale(x: Any, *, share: ranges.Share = 0.5, other: int = 1) -> float:
        return share * x * other

    assert scale(2) == 1 and scale(2, share=1) == 2
    assert list(inspect.signature(scale).parameters) == ["x", "share", "other"]
    assert inspect.getfullargspec(scale).args == ["x"]
    with pytest.raises(ValueError, match="`share` must be a number >= 0, <= 1"):
        scale(2, share=2)
    with pytest.raises(TypeError, match="unexpected keyword argument 'shares'"):
        scale(2, shares=2)


def test_a_range_of_ones_own():
    half = Annotated[float, Interval(lt=0.5)]
    with pytest.raises(ValueError, match="`x` must be a number < 0.5. Received: 1"):
        ranges.check("x", 1, half)


@pytest.mark.parametrize("table", ["methods", "networks", "attacks"])
def test_every_number_has_its_range(table):
    for name in registry.TABLES[table]:
        for option in registry.options(table, name).values():
            told = option.hint is Any or "number" not in ranges.words(option.hint)
            assert told or ranges._is_bounded(option.hint), (name, option.name)


@pytest.mark.parametrize("table", ["methods", "networks"])
def test_every_option_has_a_meaning_and_a_default_within_its_range(table):
    for name in registry.TABLES[table]:
        for option in registry.options(table, name).values():
            assert registry.meanings(table, name)[option.name], (name, option.name)
            assert ranges.fits(option.default, option.hint), (name, option.name)
            if option.default is not None:
                assert _adapter(option.hint).validate_python(option.default) is not None
