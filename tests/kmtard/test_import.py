"""The public names, and what importing them costs."""

from __future__ import annotations

import os
import subprocess
import sys
from types import ModuleType

import pytest

import kmtard
from kmtard import registry

pytestmark = pytest.mark.once("torch")

HEAVY = {"jax", "keras", "numpy", "sklearn", "tensorflow", "torch"}


def loaded_after(statement: str) -> set[str]:
    """Top-level modules loaded in a new interpreter after `statement`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    "module",
    ["kmtard", "kmtard.recipe", "kmtard.registry", "kmtard.runs", "launcher.app"],
)
def test_light_modules_load_nothing_heavy(module: str) -> None:
    loaded = loaded_after(f"import {module}, kmtard; dir(kmtard); kmtard.__version__")
    assert {"kmtard", module.partition(".")[0]} <= loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("command", ["fit", "evaluate", "harden", "study"])
def test_commands_build_no_schema_before_they_read_a_recipe(command: str) -> None:
    """It would take a tenth of the time of `--help`."""
    built = (
        f"import kmtard.commands.{command}\n"
        "from kmtard.recipe.schema import Recipe, Section\n"
        "built = [model.__name__ for model in (Recipe, *Section.__subclasses__())\n"
        "         if model.__pydantic_complete__]\n"
        "assert not built, built"
    )
    done = subprocess.run([sys.executable, "-c", built], capture_output=True, text=True)
    assert not done.returncode, done.stderr


@pytest.mark.parametrize("name", kmtard.__all__)
def test_public_names_resolve_to_what_they_name(name: str) -> None:
    value = getattr(kmtard, name)
    if name[0].isupper():
        assert isinstance(value, type)
        assert value.__name__ == name
    elif name == "harden":
        assert callable(value)
    else:
        assert isinstance(value, ModuleType)
        assert value.__name__ == f"kmtard.{name}"


def test_rooms_give_their_names_after_import_kmtard_alone() -> None:
    names = {
        "attacks": ["AutoAttack", "PGD"],
        "callbacks": ["EntropyBalance"],
        "data": ["digits"],
        "evaluation": ["Evaluation", "evaluate"],
        "methods": ["TRADES", "build"],
        "networks": ["resnet18", "small_cnn"],
        "optimizers": ["L2SGD"],
        "recipe": ["load"],
        "runs": ["Run"],
    }
    lines = ["import kmtard"]
    for room, values in names.items():
        for value in values:
            lines.append(f"assert {value!r} in dir(kmtard.{room}), {value!r}")
            lines.append(f"assert callable(kmtard.{room}.{value}), {value!r}")
    loaded_after("\n".join(lines))


@pytest.mark.parametrize(
    ("table", "room"),
    [
        (registry.ATTACKS, "attacks"),
        (registry.DATASETS, "data"),
        (registry.METHODS, "methods"),
        (registry.NETWORKS, "networks"),
    ],
)
def test_a_room_gives_whatever_the_registry_names(
    table: dict[str, str], room: str
) -> None:
    for place in table.values():
        name = place.partition(":")[2]
        value = getattr(getattr(kmtard, room), name)
        assert callable(value), name


def test_dir_lists_public_names_before_they_are_loaded() -> None:
    assert {*kmtard.__all__, "__version__"} <= set(dir(kmtard))


def test_unknown_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(AttributeError, match="'Distiler'.*MultiTeacherDistiller"):
        _ = kmtard.Distiler
    assert not hasattr(kmtard, "import_nothing")
