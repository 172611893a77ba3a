from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from launcher.runs.differences import (
    assign_looks,
    differing,
    flatten,
    points,
    seed_groups,
)


def test_settings_are_flat_and_look_as_in_the_file():
    recipe = {
        "method": {"name": "b-mtard", "bounds": [1.0, 10.0]},
        "runtime": {"jit": False, "deep": {"er": "x"}},
        "epsilon": 0.1,
    }

    assert flatten(recipe) == {
        "method.name": "b-mtard",
        "method.bounds": "[1.0, 10.0]",
        "runtime.jit": "false",
        "runtime.deep.er": "x",
        "epsilon": "0.1",
    }


def test_only_what_differs_is_left_with_a_dash_for_what_is_absent():
    recipes = [{"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "x"}, {"a": "1"}]

    assert differing(recipes) == {"b": ["2", "3", "-"], "c": ["-", "x", "-"]}
    assert differing(recipes[:1]) == differing([]) == {}


def test_runs_that_differ_in_seed_and_places_alone_belong_together():
    recipes = [
        {"method.name": "a", "runtime.seed": "0", "runtime.runs_dir": "x"},
        {"method.name": "b", "runtime.seed": "0"},
        {"method.name": "a", "runtime.seed": "1"},
        {},
        {},
    ]

    assert seed_groups(recipes) == [[0, 2]]


def test_differences_have_a_sign():
    assert points(0.8667, 0.85) == "+1.67"
    assert points(0.80, 0.85) == "-5.00"
    assert points(0.5, 0.5) == "+0.00"
    assert points(None, 0.5) == points(0.5, None) == "-"


keys = st.lists(st.sampled_from("abcdefgh"), max_size=8, unique=True)


@settings(deadline=None)
@given(st.lists(keys, max_size=8), st.integers(1, 5))
def test_looks_are_different_and_stay_where_they_can(comparisons, count):
    looks: dict[str, int] = {}
    for compared in comparisons:
        before = dict(looks)
        assign_looks(compared, looks, count)

        assert all(0 <= looks[key] < count for key in compared)
        if len(compared) <= count:
            assert len({looks[key] for key in compared}) == len(compared)
        known = [before[key] for key in compared if key in before]
        if len(set(known)) == len(known):
            assert all(looks[key] == before[key] for key in compared if key in before)


def test_looks_do_not_depend_on_the_order():
    looks: dict[str, int] = {}
    assign_looks("ab", looks, 8)
    assign_looks("cba", looks, 8)

    assert looks == {"a": 0, "b": 1, "c": 2}
