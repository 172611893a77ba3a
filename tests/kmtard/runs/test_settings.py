from __future__ import annotations

import pytest

from kmtard.runs.settings import (
    ABOUT,
    differing,
    distinctions,
    flatten,
    radius_of,
    read_settings,
    seed_groups,
)

pytestmark = pytest.mark.once("torch")


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
        {"method.name": "a", "runtime.devices": "4", "runtime.processes": "2"},
        {},
        {},
    ]

    assert seed_groups(recipes) == [[0, 2, 3], [1]]


def test_equal_settings_are_kept_apart_where_something_else_differs():
    recipes = [{"a": "1", "runtime.seed": f"{seed}"} for seed in range(3)]

    assert seed_groups(recipes, [360, 100, 360]) == [[0, 2], [1]]
    assert seed_groups([]) == []


def test_the_settings_of_a_run_are_those_of_its_recipe(make_run):
    run = make_run(recipe='[data]\nname = "digits"\n[runtime]\nseed = 3\n')
    settings = read_settings(run)

    assert [settings.get(key) for key in ABOUT] == ["digits", None, None, "3"]
    run.recipe_path.write_text("[")
    assert read_settings(run) == {}


def test_what_tells_settings_apart_is_short_and_different_for_each() -> None:
    first = {"a": "1", "b": "x" * 99, "c": "1", "d": "1", "runtime.seed": "0"}
    second = {"a": "1", "b": "y", "c": "2", "d": "2", "e": "1", "runtime.seed": "1"}
    third = {**second, "e": "2"}
    assert distinctions([first]) == [""]
    texts = distinctions([first, second, third])
    assert texts == [
        f"b={'x' * 23}…, c=1, 1 more",
        "b=y, e=1, c=2, 1 more",
        "b=y, e=2, c=2, 1 more",
    ]


def test_inherited_settings_of_teachers_do_not_hide_what_differs() -> None:
    def run(epochs: str, rate: str, width: str) -> dict[str, str]:
        teacher = {f"nat_teacher.method.schedule.{key}": epochs for key in "abc"}
        own = {f"schedule.{key}": epochs for key in "abc"}
        return {**teacher, **own, "method.rate": rate, "student.width": width}

    runs = [run("5", "1", "8"), run("9", "1", "8"), run("5", "2", "8")]
    texts = distinctions([*runs, run("5", "1", "9")])
    assert texts == [
        "schedule.a=5, method.rate=1, student.width=8, 2 more",
        "schedule.a=9, method.rate=1, student.width=8, 2 more",
        "schedule.a=5, method.rate=2, student.width=8, 2 more",
        "schedule.a=5, method.rate=1, student.width=9, 2 more",
    ]


def test_only_teachers_differ() -> None:
    runs = [{"a": "1", "adv_teacher.method.beta": each} for each in ("1", "6")]
    assert distinctions(runs) == [f"adv_teacher.method.beta={each}" for each in "16"]


def test_the_radius_is_that_of_the_evaluation() -> None:
    assert radius_of({"attack.epsilon": "0.1", "evaluation.epsilon": "0.2"}) == 0.2
    assert radius_of({"attack.epsilon": "0.1"}) == 0.1
    assert radius_of({"attack.epsilon": "x"}) is None
    assert radius_of({}) is None


def test_a_newer_key_with_its_default_makes_no_difference(make_run):
    recipes = ("", '[runtime]\non_non_finite = "stop"\n', '[attack]\nnorm = "linf"\n')
    found = [read_settings(make_run(recipe=f"a = 1\n{text}")) for text in recipes]
    assert found == [{"a": "1"}] * 3
    other = make_run(recipe='[runtime]\non_non_finite = "continue"\n')
    assert read_settings(other) == {"runtime.on_non_finite": "continue"}
