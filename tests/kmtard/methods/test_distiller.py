"""Teachers: frozen, or learning with the student where a method says so."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import ops

from kmtard.optimizers import L2SGD
from kmtard.runs.files import replaced, write_atomic
from kmtard.training.callbacks import BestStudent, RunState
from tests.kmtard.methods.learning import LearningTeacher, Mirror

STEPS = 4  # an epoch, in batches of two


def make(tiny: SimpleNamespace, seed: int = 1, **kwargs: Any) -> Any:
    networks = [tiny.network(seed + index) for index in range(3)]
    random = tiny.attack(start="uniform")
    kwargs = {"attack": random, "evaluation_attack": tiny.attack(), **kwargs}
    model = LearningTeacher(*networks, **kwargs)
    model.compile(L2SGD(0.1, momentum=0.9), run_eagerly=True)
    model.optimizer.build(model.trainable_variables)
    return model


def fit(tiny: SimpleNamespace, model: Any, rows: slice, *callbacks: Any) -> Any:
    return tiny.fit(
        model, tiny.x[rows], tiny.y[rows], batch_size=2, callbacks=list(callbacks)
    )


def assert_equal(one: list[np.ndarray], other: list[np.ndarray]) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_learning_teacher_moves_and_a_frozen_one_does_not(
    tiny: SimpleNamespace,
) -> None:
    model = make(tiny)
    before = {role: tiny.values(net.variables) for role, net in model.networks.items()}

    fit(tiny, model, slice(None))

    assert list(model.trained_networks) == ["student", "adv_teacher"]
    assert list(model.frozen_networks) == ["nat_teacher"]
    for role, network in model.networks.items():
        after = tiny.values(network.variables)
        moved = [bool((a != b).any()) for a, b in zip(before[role], after, strict=True)]
        assert all(moved) if role in model.trained_networks else not any(moved), role


def test_a_teacher_frozen_before_learns_again(tiny: SimpleNamespace) -> None:
    teacher = tiny.network(3)
    teacher.trainable = False

    LearningTeacher(tiny.network(), tiny.network(2), teacher)

    assert teacher.trainable_variables


def test_one_network_cannot_learn_and_be_frozen(tiny: SimpleNamespace) -> None:
    teacher = tiny.network(2)
    with pytest.raises(
        ValueError, match="`adv_teacher` and `nat_teacher` are one model"
    ):
        LearningTeacher(tiny.network(), teacher, teacher)


def test_weights_files_hold_what_learns(tiny: SimpleNamespace, tmp_path: Path) -> None:
    model, path = make(tiny), tmp_path / "model.weights.h5"
    fit(tiny, model, slice(None))

    model.save_weights(path)
    other = make(tiny, seed=11)
    frozen = tiny.values(other.nat_teacher.variables)
    other.load_weights(path)

    with h5py.File(path) as file:
        names: list[str] = []
        file.visit(names.append)
    assert not [name for name in names if "nat_teacher" in name]
    for role, network in model.trained_networks.items():
        assert_equal(
            tiny.values(other.networks[role].variables), tiny.values(network.variables)
        )
    assert_equal(tiny.values(other.nat_teacher.variables), frozen)
    assert_equal(
        tiny.values(other.optimizer.variables), tiny.values(model.optimizer.variables)
    )
    assert other.nat_teacher is other.networks["nat_teacher"]


def test_the_whole_model_goes_on_learning(
    tiny: SimpleNamespace, tmp_path: Path
) -> None:
    # Keras files leave the seed of random starts out.
    model, path = make(tiny, attack=tiny.attack()), tmp_path / "model.keras"
    fit(tiny, model, slice(4))
    model.save(path)
    loaded = keras.models.load_model(path)
    loaded.run_eagerly = True
    assert not loaded.nat_teacher.trainable
    logs = [fit(tiny, each, slice(4, 8)) for each in (model, loaded)]
    assert logs[1] == pytest.approx(logs[0], rel=1e-5)


@pytest.mark.parametrize("additions", [False, True])
def test_a_run_goes_on_within_an_epoch_bit_for_bit(
    tiny: SimpleNamespace, tmp_path: Path, additions: bool
) -> None:
    def fresh(seed: int) -> Any:
        return make(tiny, seed, additions=[Mirror()] if additions else [])

    def everything(model: Any) -> list[np.ndarray]:
        frozen = {id(v) for v in model.nat_teacher.variables}
        held = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
        return tiny.values([v for v in held if id(v) not in frozen])

    whole = fresh(1)
    whole_logs = fit(tiny, whole, slice(None))

    stopped = fresh(1)
    saving = RunState(tmp_path, write_atomic, STEPS)
    fit(tiny, stopped, slice(4), saving)
    path = next(tmp_path.glob("*.npz"))
    with np.load(path, allow_pickle=False) as arrays:
        held = [arrays[name] for name in arrays.files if name != "meta"]
    for role, network in stopped.networks.items():
        kernel = ops.convert_to_numpy(network.layers[1].kernel)
        there = any(np.array_equal(kernel, array) for array in held)
        assert there == (role in stopped.trained_networks), role

    resumed = fresh(11)
    # A frozen teacher comes from its own file.
    resumed.nat_teacher.set_weights(stopped.nat_teacher.get_weights())
    state = RunState(tmp_path, write_atomic, STEPS)
    assert state.restore(resumed) == 2
    logs = fit(tiny, resumed, slice(4, 8), state)

    assert_equal(everything(resumed), everything(whole))
    # The averages of the whole epoch, though only its second half was run here.
    assert logs == whole_logs


def test_the_best_of_what_learns_is_kept_and_put_back(
    tiny: SimpleNamespace, tmp_path: Path
) -> None:
    model = make(tiny)
    keeper = BestStudent(tmp_path / "student.keras", replaced)
    keeper.set_model(model)
    fit(tiny, model, slice(None))
    keeper.on_epoch_end(0, {"val_w_robust_accuracy": 0.5})
    best = {r: tiny.values(n.variables) for r, n in model.trained_networks.items()}
    fit(tiny, model, slice(None))
    keeper.on_epoch_end(1, {"val_w_robust_accuracy": 0.25})

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "adv_teacher.keras",
        "student.keras",
    ]
    for role, values in best.items():
        saved = keras.models.load_model(tmp_path / f"{role}.keras")
        assert_equal(tiny.values(saved.variables), values)
    keeper.restore(model)
    for role, values in best.items():
        assert_equal(tiny.values(model.networks[role].variables), values)
