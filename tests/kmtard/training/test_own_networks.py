"""A recipe with any network, and where its student starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kmtard.data.pipeline import DataSet, Split
from kmtard.networks import convert
from kmtard.networks.own_model import origin_of
from kmtard.networks.resnet import resnet56
from kmtard.networks.small_cnn import small_cnn
from kmtard.recipe import Recipe, RecipeError, load, teacher_key
from kmtard.runs.files import RunError
from kmtard.training.build import build_method, build_network, load_teacher
from kmtard.training.teachers import check_weights
from tests.kmtard.networks.own_models import CLASSES, MODELS, SHAPE

pytestmark = pytest.mark.once("torch")

DIGITS = Path(__file__).parents[3] / "recipes" / "digits.toml"


def data() -> DataSet:
    pixels = np.random.RandomState(0).randint(0, 256, (16, *SHAPE), dtype=np.uint8)
    split = Split(pixels, np.arange(16) % CLASSES)
    return DataSet("random", split, split, CLASSES)


def recipe(*overrides: str) -> Recipe:
    return load(DIGITS, overrides=overrides)


def saved(name: str, folder: Path) -> Path:
    path = folder / f"{name}.keras"
    MODELS[name][0]().save(path)
    return path


def answers(network: Any) -> np.ndarray:
    x = data().train.images.astype("float32") / 255
    return ops.convert_to_numpy(network(x, training=False))


@pytest.mark.parametrize("name", MODELS)
def test_a_step_with_the_users_model_as_student_and_teachers(
    name: str, tmp_path: Path
) -> None:
    """All networks are built by their file, trained for a step, and stay finite."""
    if name == "one_output":
        pytest.skip("it has two classes")
    path = saved(name, tmp_path)
    made = recipe(
        f"student.network={path}",
        f"nat_teacher={{network='{path}', weights='{path}'}}",
        f"adv_teacher={{network='{path}', weights='{path}'}}",
        'method={name="b_mtard", initial_losses="uniform"}',
        "attack.steps=1",
    )
    told: list[str] = []
    student = build_network(made, "student", data(), told.append)
    assert bool(told) == (name != "plain")
    teachers = {
        r: load_teacher(made, r, data()) for r in ("nat_teacher", "adv_teacher")
    }
    np.testing.assert_allclose(
        answers(student), answers(teachers["nat_teacher"]), atol=1e-5
    )
    before = answers(student)
    model, driving = build_method(made, made.training("student"), student, teachers)
    x = data().train.images.astype("float32") / 255
    logs = model.fit(x, data().train.labels, batch_size=8, verbose=0, callbacks=driving)
    assert np.isfinite(logs.history["loss"]).all()
    assert np.isfinite(answers(student)).all()
    # The adversarial loss moves it, although the clean one starts at its minimum.
    assert np.abs(answers(student) - before).max() > 0


@pytest.mark.parametrize("kind", [".keras", ".weights.h5", ".safetensors"])
def test_the_student_starts_with_the_weights_of_a_file(
    kind: str, tmp_path: Path
) -> None:
    make = resnet56 if kind == ".safetensors" else small_cnn
    network = make(CLASSES, SHAPE)
    path = tmp_path / f"start{kind}"
    if kind == ".keras":
        network.save(path)
    elif kind == ".weights.h5":
        network.save_weights(path)
    else:
        convert.save(network, path)
    name = f"student.network={make.__name__}"
    found = build_network(recipe(name, f"student.weights={path}"), "student", data())
    np.testing.assert_allclose(answers(found), answers(network), atol=1e-5)
    wide = recipe(f"student.weights={path}", "student.network=resnet18")
    with pytest.raises(RunError, match=r"student.weights = .*cannot be used"):
        build_network(wide, "student", data())


def test_weights_of_the_bare_model_fit_its_network(tmp_path: Path) -> None:
    """They were saved without what is around the model in the network."""
    path = saved("engineers", tmp_path)
    other = MODELS["engineers"][0]()
    weights = tmp_path / "other.weights.h5"
    other.save_weights(weights)
    found = build_network(
        recipe(f"student.network={path}", f"student.weights={weights}"),
        "student",
        data(),
    )
    expected = other(data().train.images.astype("float32"), training=False)
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.softmax(answers(found))),
        ops.convert_to_numpy(expected),
        atol=1e-5,
    )
    assert origin_of(found).model is not found


def test_frozen_layers_do_not_change() -> None:
    found = build_network(recipe("student.freeze=['conv2d*']"), "student", data())
    kernels = [w for w in found.trainable_weights if w.path.startswith("conv2d")]
    assert not kernels and found.trainable_weights
    with pytest.raises(RunError, match="student.freeze: .*'stem'"):
        build_network(recipe("student.freeze=['stem']"), "student", data())


def test_files_that_are_missing_are_told_before_the_run() -> None:
    made = recipe("student.network=missing.keras", "student.weights=none.h5")
    with pytest.raises(RecipeError) as caught:
        check_weights(made, "recipe.toml")
    text = str(caught.value)
    assert "student.network" in text and "student.weights" in text


def test_new_keys_do_not_change_the_hash_of_a_teacher() -> None:
    """Teachers of earlier versions are still found in the cache."""
    plain = teacher_key(recipe(), "adv_teacher")
    other = recipe(
        "student.weights=start.h5", "student.freeze=['a']", "evaluation.headline=fgsm"
    )
    assert teacher_key(other, "adv_teacher") == plain
    weighed = recipe("data.class_weights=balanced")
    assert teacher_key(weighed, "adv_teacher") != plain
    frozen = recipe("adv_teacher.freeze=['conv2d']")
    assert teacher_key(frozen, "adv_teacher") != plain


def test_a_model_for_other_images_is_refused(tmp_path: Path) -> None:
    path = saved("engineers", tmp_path)
    small = Split(np.zeros((8, 8, 8, 3), np.uint8), np.arange(8) % CLASSES)
    images = DataSet("small", small, small, CLASSES)
    with pytest.raises(RunError, match=r"data.options.size = \[16, 16\]"):
        build_network(recipe(f"student.network={path}"), "student", images)


def test_a_network_of_keras_by_its_name() -> None:
    made = recipe("student.network=keras.applications:MobileNetV2")
    split = Split(np.zeros((8, 32, 32, 3), np.uint8), np.arange(8) % CLASSES)
    network = build_network(made, "student", DataSet("black", split, split, CLASSES))
    assert isinstance(network, keras.Model)
    assert network.output_shape == (None, CLASSES)
