"""Files of our classes load after `import kmtard`, whenever Keras was imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import kmtard
from kmtard import registry
from kmtard.registry import saved_classes

pytestmark = pytest.mark.once("torch")

OLD = Path(__file__).parents[2] / "fixtures" / "v0_1"

LOADER = """
import json, sys
from concurrent.futures import ThreadPoolExecutor

def load(path):
    model = keras.models.load_model(path)
    return [type(each).__name__ for each in (model, model.attack, model.optimizer)]

heavy = "kmtard.methods" in sys.modules
with ThreadPoolExecutor(4) as pool:
    print(json.dumps([heavy, *pool.map(load, sys.argv[1:])]))
"""


def network() -> keras.Model:
    image = keras.Input((4, 4, 1))
    return keras.Sequential([image, layers.Flatten(), layers.Dense(3)])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """File -> class of every method, and those of an older version."""
    folder, files = tmp_path_factory.mktemp("saved"), {}
    for name in registry.METHODS:
        roles = registry.positional("methods", name)
        method, _ = kmtard.methods.build(name, **{role: network() for role in roles})
        method.compile(kmtard.optimizers.L2SGD(0.1))
        method(np.zeros((1, 4, 4, 1), "float32"))
        files[str(folder / f"{name}.keras")] = type(method).__name__
        method.save(folder / f"{name}.keras")
    files[str(OLD / "trades.keras")] = "TRADES"
    files[str(OLD / "multi_teacher.keras")] = "MultiTeacherDistiller"
    return files


def run(code: str, *words: str) -> str:
    """Return what a new interpreter prints."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("order", "some"),
    [
        ("import kmtard, keras", slice(None)),
        ("import keras, kmtard", slice(-3, None)),
    ],
)
def test_files_load_in_a_new_process(
    order: str, some: slice, saved: dict[str, str]
) -> None:
    heavy, *found = json.loads(run(order + LOADER, *list(saved)[some]))
    assert not heavy
    assert found == [[name, "PGD", "L2SGD"] for name in list(saved.values())[some]]


def test_all_that_is_registered_is_named() -> None:
    for place in saved_classes.places().values():
        module, _, _ = place.partition(":")
        __import__(module)
    found = {
        name: value
        for name, value in keras.saving.get_custom_objects().items()
        if name.startswith("kmtard>")
    }
    assert found.keys() == saved_classes.places().keys()
    assert all(isinstance(value, type) for value in found.values())


def test_a_class_keeps_its_place() -> None:
    table = keras.saving.get_custom_objects()
    before = dict(table)
    saved_classes.register(keras)
    assert table == before


def test_a_stand_in_makes_the_object_and_says_its_class() -> None:
    stand_in = saved_classes.StandIn("kmtard.attacks:PGD")
    attack = stand_in.from_config(kmtard.attacks.PGD(0.25).get_config())
    assert type(attack) is kmtard.attacks.PGD
    assert attack.epsilon == 0.25
    assert repr(stand_in) == "<class 'kmtard.attacks:PGD'>"


def test_the_hook_leaves_other_modules_and_a_search_alone() -> None:
    code = """
import importlib.util, sys
from kmtard import _KerasHook
[hook] = [each for each in sys.meta_path if isinstance(each, _KerasHook)]
assert hook.find_spec("json", None) is None
assert hook.find_spec("keras.saving", None) is None
print(importlib.util.find_spec("keras").origin, "keras" in sys.modules)
"""
    assert run(code).split() == [keras.__file__, "False"]
