"""Students, whole models and weights: to a file, back, and to another backend."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import ops

import kmtard
from kmtard.callbacks import EntropyBalance, NormalizationLossBalance

BACKENDS = ("jax", "tensorflow", "torch")
STATE = (
    "steps_taken",
    "nat_temperature",
    "adv_temperature",
    "nat_weight",
    "adv_weight",
    "initial_nat_loss",
    "initial_adv_loss",
)
WRITE = """
import sys
import keras
import numpy as np
from kmtard.networks.small_cnn import small_cnn

student = small_cnn(3, (4, 4, 1), width=2)
rng = np.random.default_rng(0)
student.set_weights([rng.uniform(0.1, 1, w.shape) for w in student.get_weights()])
x = rng.random((5, 4, 4, 1), dtype="float32")
student.save("student.keras")
student.save_weights("student.weights.h5")
outputs = keras.ops.convert_to_numpy(student(x, training=False))
np.savez("outputs.npz", x=x, outputs=outputs)
"""


def trained(tiny: SimpleNamespace) -> Any:
    """A model some way into its life, every part of its state moved."""
    model = tiny.compiled()
    fit(tiny, model)
    return model


def fit(tiny: SimpleNamespace, model: Any) -> dict[str, list[float]]:
    balances = [EntropyBalance(0.125), NormalizationLossBalance(0.5)]
    return tiny.fit(model, tiny.x, tiny.y, callbacks=balances)


def assert_equal(tiny: SimpleNamespace, one: Any, other: Any) -> None:
    for a, b in zip(tiny.values(one), tiny.values(other), strict=True):
        np.testing.assert_array_equal(a, b)


def state(model: Any) -> list[float]:
    return [float(getattr(model, name).value) for name in STATE]


def outputs(model: Any, x: np.ndarray) -> np.ndarray:
    return ops.convert_to_numpy(model(x, training=False))


def test_student_goes_its_own_way(tiny: SimpleNamespace, tmp_path: Path) -> None:
    model = trained(tiny)
    path = tmp_path / "student.keras"

    model.student.save(path)

    loaded = keras.models.load_model(path)
    np.testing.assert_array_equal(
        outputs(loaded, tiny.x), outputs(model.student, tiny.x)
    )


def test_whole_model_goes_on_where_it_was(
    tiny: SimpleNamespace, tmp_path: Path
) -> None:
    model, path = trained(tiny), tmp_path / "model.keras"

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.save(path)
        loaded = keras.models.load_model(path)

    assert type(loaded) is kmtard.MultiTeacherDistiller
    assert state(loaded) == state(model)
    assert_equal(tiny, loaded.optimizer.variables, model.optimizer.variables)
    for role, network in model.networks.items():
        assert_equal(tiny, loaded.networks[role].variables, network.variables)
    assert not loaded.nat_teacher.trainable
    predicted = (m.predict(tiny.x, batch_size=4, verbose=0) for m in (loaded, model))
    np.testing.assert_allclose(*predicted, atol=1e-6)
    loaded.run_eagerly = True
    assert fit(tiny, loaded) == pytest.approx(fit(tiny, model), rel=1e-5)
    assert state(loaded) == pytest.approx(state(model), rel=1e-5)


@pytest.mark.parametrize(
    ("method", "own"),
    [
        ("natural", {}),
        ("trades", {"beta": 2.0}),
        ("multi", {"temperature": (2.0, 1.5), "class_scale": 0.5}),
    ],
)
def test_config(tiny: SimpleNamespace, method: str, own: dict) -> None:
    attack = kmtard.attacks.PGD(0.1, step_size=0.05, steps=3, start="uniform")
    model = tiny.model(
        method, attack=attack, attack_bn="train", seed=7, name="mine", **own
    )

    config = model.get_config()
    made = type(model).from_config(config)

    assert made.get_config() == config
    assert made.attack.get_config() == attack.get_config()
    assert {key: getattr(made, key) for key in own} == own
    assert (made.seed, made.attack_bn, made.name) == (7, "train", "mine")
    assert outputs(made, tiny.x).shape == (8, tiny.classes)


def test_weights_leave_the_teachers_out(tiny: SimpleNamespace, tmp_path: Path) -> None:
    model, path = trained(tiny), tmp_path / "model.weights.h5"
    networks = model.networks

    model.save_weights(path)

    with h5py.File(path) as file:
        names: list[str] = []
        file.visit(names.append)
        sizes = [file[n].size for n in names if isinstance(file[n], h5py.Dataset)]
    assert not [name for name in names if "teacher" in name]
    # Student and velocities, and not much beside.
    student = model.student.count_params()
    assert student < sum(sizes) < 2 * student + 50
    assert model.networks == networks


def test_weights_come_back_to_other_teachers(
    tiny: SimpleNamespace, tmp_path: Path
) -> None:
    model, path = trained(tiny), tmp_path / "model.weights.h5"
    model.save_weights(path)
    other = tiny.compiled()
    for teacher in (other.nat_teacher, other.adv_teacher):
        teacher.set_weights([w + 1 for w in teacher.get_weights()])
    before = tiny.values(other.nat_teacher.variables + other.adv_teacher.variables)
    other.optimizer.build(other.trainable_variables)

    other.load_weights(path)

    after = tiny.values(other.nat_teacher.variables + other.adv_teacher.variables)
    for one, two in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, two)
    assert state(other) == state(model)
    assert_equal(tiny, other.student.variables, model.student.variables)
    assert_equal(tiny, other.optimizer.variables, model.optimizer.variables)


def test_failed_saving_gives_the_teachers_back(
    tiny: SimpleNamespace, tmp_path: Path
) -> None:
    model = tiny.model()
    networks = model.networks

    with pytest.raises(ValueError, match=r"\.weights\.h5"):
        model.save_weights(tmp_path / "model.txt")

    assert model.networks == networks
    assert model.nat_teacher is networks["nat_teacher"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders that the other installed backends have written, by backend."""
    here = keras.backend.backend()
    others = [b for b in BACKENDS if b != here and importlib.util.find_spec(b)]
    folders = {backend: tmp_path_factory.mktemp(backend) for backend in others}
    root = str(Path(kmtard.__file__).parents[1])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE],
            cwd=folder,
            env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": root},
        )
        for backend, folder in folders.items()
    ]
    assert [process.wait(120) for process in processes] == [0] * len(others)
    return folders


# The files are Keras's own; one backend that reads those of the others shows it.
@pytest.mark.once("jax")
@pytest.mark.parametrize("backend", BACKENDS)
def test_students_of_other_backends(written: dict[str, Path], backend: str) -> None:
    if backend not in written:
        pytest.skip(f"{backend} is the backend under test, or not installed")
    folder = written[backend]
    wanted = np.load(folder / "outputs.npz")

    whole = keras.models.load_model(folder / "student.keras")
    weights = keras.models.clone_model(whole)
    weights.load_weights(folder / "student.weights.h5")

    for student in (whole, weights):
        np.testing.assert_allclose(
            outputs(student, wanted["x"]), wanted["outputs"], rtol=1e-5, atol=1e-5
        )
