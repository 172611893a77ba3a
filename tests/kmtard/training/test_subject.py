"""Models from files: saved methods, and what Keras cannot load."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import kmtard
from kmtard.data.digits import digits
from kmtard.networks import convert
from kmtard.recipe import load
from kmtard.runs import RunError
from kmtard.training.build import load_teacher
from kmtard.training.subject import Subject, load_model, trained_accuracy
from tests.run_folders import MakeRun, epoch_metrics, make_run

__all__ = ["make_run"]

DIGITS = Path(__file__).parents[3] / "recipes" / "digits.toml"


def network() -> keras.Model:
    image = keras.Input((4, 4, 1))
    return keras.Sequential([image, layers.Flatten(), layers.Dense(3)])


@pytest.mark.parametrize(
    "build",
    [
        lambda: kmtard.methods.TRADES(network()),
        lambda: kmtard.MultiTeacherDistiller(network(), network(), network()),
    ],
    ids=["trades", "multi_teacher"],
)
def test_saved_method_gives_its_student(build: Any, tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((4, 4, 4, 1), "float32")
    method = build()
    method(x)
    method.save(tmp_path / "method.keras")
    student = load_model(tmp_path / "method.keras")
    assert isinstance(student, keras.Sequential)
    np.testing.assert_allclose(
        ops.convert_to_numpy(student(x)), ops.convert_to_numpy(method.student(x))
    )


@pytest.mark.once("torch")
def test_a_run_knows_the_clean_accuracy_of_its_best_epoch(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run(epochs=4, done=3, phases=("adv_teacher", "student"))
    best = epoch_metrics(3, 4)["clean_accuracy"]
    assert Subject.find(str(run.path)).trained_accuracy == best
    assert trained_accuracy(run, "adv_teacher") == best
    assert trained_accuracy(run, "nat_teacher") is None
    run.events_path.unlink()
    assert trained_accuracy(run, "student") is None
    (tmp_path / "model.keras").touch()
    assert Subject.find(str(tmp_path / "model.keras")).trained_accuracy is None


@keras.saving.register_keras_serializable(package="test_subject")
class Unknown(layers.Layer):
    """A layer that another process does not know."""


@pytest.mark.once("torch")
def test_layer_that_is_not_known_is_named_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.keras"
    inner = network().layers
    keras.Sequential([keras.Input((4, 4, 1)), Unknown(), *inner]).save(path)
    known = keras.saving.get_custom_objects()
    monkeypatch.delitem(known, "test_subject>Unknown")
    with pytest.raises(RunError, match="Unknown, a class.*--import MODULE") as error:
        load_model(path)
    assert len(str(error.value)) < 400


def hostile(path: Path, kind: str, ran: Path) -> None:
    """Save a model that makes a file where its code is run."""
    inner = network()
    if kind == "lambda":
        touch = f"__import__('pathlib').Path({str(ran)!r}).touch()"
        own = layers.Lambda(eval(f"lambda x: ({touch}, x)[1]"))
        keras.Sequential([keras.Input((4, 4, 1)), own, *inner.layers]).save(path)
        ran.unlink()
        return
    inner.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][-1] = {
        "module": "subprocess" if kind == "module" else None,
        "class_name": "run",
        "config": {"args": ["touch", str(ran)]},
        "registered_name": "run",
    }
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.once("torch")
@pytest.mark.parametrize("kind", ["lambda", "module", "name"])
def test_code_in_a_model_is_not_run(tmp_path: Path, kind: str) -> None:
    path, ran = tmp_path / "model.keras", tmp_path / "ran"
    hostile(path, kind, ran)
    with pytest.raises(RunError, match="Expected a Keras model"):
        load_model(path)
    teacher = f'nat_teacher={{network="resnet56", weights="{path}"}}'
    with pytest.raises((RunError, TypeError)):
        load_teacher(load(DIGITS, overrides=[teacher]), "nat_teacher", digits())
    with pytest.raises((ValueError, TypeError)):
        convert.convert_file(path, tmp_path / "a.safetensors")
    assert not ran.exists()
    if kind == "lambda":
        # It would have been, had Keras been told to trust it.
        keras.models.load_model(path, safe_mode=False)
        assert ran.exists()


@pytest.mark.once("torch")
@pytest.mark.parametrize("suffix", [".h5", ".hdf5"])
def test_a_whole_h5_model_is_refused_with_what_to_do(
    suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"model{suffix}"
    path.touch()
    with pytest.raises(RunError) as error:
        Subject.find(str(path))
    assert f"keras.models.load_model('{path}'" in str(error.value)
    assert f".save('{path.with_suffix('.keras')}')" in str(error.value)
