"""Checkpoints: what they hold, and what damage does to them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kmtard.attacks import PGD
from kmtard.methods.multi_teacher import MultiTeacherDistiller
from kmtard.optimizers import L2SGD
from kmtard.runs.files import write_atomic
from kmtard.training.callbacks import RunState
from kmtard.training.callbacks.run_state import CheckpointError

STEPS = 5  # an epoch
WIDTH = 3  # of the student; teachers are 7 wide
STATE = (
    "nat_temperature",
    "adv_temperature",
    "nat_weight",
    "adv_weight",
    "initial_nat_loss",
    "initial_adv_loss",
    "temperature_rate",
    "weight_rate",
    "steps_taken",
)


def network(width: int) -> Any:
    hidden = [layers.Flatten(), layers.Dense(width), layers.BatchNormalization()]
    return keras.Sequential([layers.Input((2, 2, 1)), *hidden, layers.Dense(2)])


def distiller(width: int = WIDTH) -> Any:
    model = MultiTeacherDistiller(
        network(width), network(7), network(7), attack=PGD(steps=1)
    )
    model.compile(L2SGD(0.1, momentum=0.9), run_eagerly=True)
    model.optimizer.build(model.trainable_variables)
    return model


def variables(model: Any) -> dict[str, Any]:
    """Everything that a checkpoint must restore, by name."""
    return {
        **{f"student {i}": v for i, v in enumerate(model.student.variables)},
        **{f"velocity {i}": v for i, v in enumerate(model.optimizer.velocities)},
        **{f"average {i}": v for i, v in enumerate(model.metrics_variables)},
        **{name: getattr(model, name) for name in STATE},
        "learning rate": model.optimizer.learning_rate,
        "iterations": model.optimizer.iterations,
        "attack seed": model.attack_seed.state,
    }


def fill(model: Any, first: int) -> None:
    """Give every variable a different value."""
    for number, variable in enumerate(variables(model).values(), first):
        variable.assign(np.full(variable.shape, number, variable.dtype))


def at_step(step: int, model: Any, folder: Path, **kwargs: Any) -> RunState:
    model.steps_taken.assign(step)
    state = RunState(folder, write_atomic, STEPS, **kwargs)
    state.set_model(model)
    return state


def values(model: Any) -> dict[str, list]:
    return {
        name: keras.ops.convert_to_numpy(variable).tolist()
        for name, variable in variables(model).items()
    }


def test_every_variable_comes_back_and_no_teacher_is_touched(tmp_path: Path) -> None:
    model, other = distiller(), distiller()
    fill(model, 10)
    fill(other, 500)
    teachers = [other.nat_teacher, other.adv_teacher]
    before = [teacher.get_weights() for teacher in teachers]
    at_step(STEPS, model, tmp_path).save()
    assert RunState(tmp_path, write_atomic, STEPS).restore(other) == STEPS
    assert values(other) == values(model)
    for teacher, weights in zip(teachers, before, strict=True):
        for value, old in zip(teacher.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(value, old)


def test_file_holds_no_teacher(tmp_path: Path) -> None:
    path = at_step(STEPS, distiller(), tmp_path).save()
    with np.load(path, allow_pickle=False) as arrays:
        shapes = {arrays[name].shape for name in arrays.files}
    assert (4, WIDTH) in shapes
    assert (4, 7) not in shapes


def test_state_of_callbacks_comes_back(tmp_path: Path) -> None:
    model = distiller()
    best = SimpleNamespace(state={"score": 0.1 + 0.2, "epoch": 3})
    at_step(STEPS, model, tmp_path, stateful={"best": best}).save()
    other = SimpleNamespace(state={"score": None, "epoch": None})
    RunState(tmp_path, write_atomic, STEPS, {"best": other}).restore(model)
    assert other.state == {"score": 0.1 + 0.2, "epoch": 3}


def test_averages_return_after_keras_reset_them_within_an_epoch(
    tmp_path: Path,
) -> None:
    model = distiller()
    fill(model, 10)
    before = values(model)
    at_step(STEPS + 2, model, tmp_path).save()
    state = at_step(STEPS + 2, model, tmp_path)
    state.restore(model)
    model.reset_metrics()
    assert values(model)["average 0"] != before["average 0"]
    state.on_epoch_begin(1)
    averages = [name for name in before if name.startswith("average")]
    assert averages
    assert [values(model)[n] for n in averages] == [before[n] for n in averages]
    model.reset_metrics()
    state.on_epoch_begin(2)
    assert values(model)["average 0"] != before["average 0"], "only in that epoch"


def test_averages_stay_reset_at_the_begin_of_an_epoch(tmp_path: Path) -> None:
    model = distiller()
    fill(model, 10)
    at_step(STEPS, model, tmp_path).save()
    state = at_step(STEPS, model, tmp_path)
    state.restore(model)
    model.reset_metrics()
    fresh = values(model)
    state.on_epoch_begin(1)
    assert values(model) == fresh


def test_two_points_are_kept(tmp_path: Path) -> None:
    model = distiller()
    for step in (5, 10, 100000, 15):
        at_step(step, model, tmp_path).save()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "0000000015.npz",
        "0000100000.npz",
    ]


def test_only_files_named_as_checkpoints_are_read_or_deleted(
    tmp_path: Path,
) -> None:
    model = distiller()
    folder = tmp_path / "student"
    folder.mkdir()
    outside = tmp_path / "outside.npz"
    outside.write_bytes(b"precious")
    (folder / "0000000003.npz").symlink_to(outside)
    (folder / "0000000004.npz").mkdir()
    others = [
        "backup-1.npz",
        "x0000000001.npz",
        "1.npz",
        "0000000001.npz.bak",
        "９.npz",
    ]
    for name in others:
        (folder / name).write_bytes(b"mine")
    points = [at_step(step, model, folder).save() for step in (5, 10, 15)]
    assert [path.exists() for path in points] == [False, True, True]
    assert {path.name for path in folder.iterdir()} == {
        *others,
        *("0000000003.npz", "0000000004.npz", "0000000010.npz", "0000000015.npz"),
    }
    assert outside.read_bytes() == b"precious"
    assert RunState(folder, write_atomic, STEPS).restore(distiller()) == 15


def test_what_is_just_written_is_never_deleted(tmp_path: Path) -> None:
    model = distiller()
    for step in (90, 95):
        at_step(step, model, tmp_path).save()
    path = at_step(5, model, tmp_path, keep=1).save()
    assert path.exists()
    assert (tmp_path / "0000000095.npz").exists()


def test_a_folder_that_is_a_link_is_neither_read_nor_changed(tmp_path: Path) -> None:
    model = distiller()
    outside = tmp_path / "outside"
    points = [at_step(step, model, outside).save() for step in (5, 10)]
    contents = [path.read_bytes() for path in points]
    folder = tmp_path / "student"
    folder.symlink_to(outside)
    with pytest.raises(CheckpointError, match="received a link"):
        RunState(folder, write_atomic, STEPS).restore(distiller())
    with pytest.raises(CheckpointError, match="received a link"):
        at_step(15, model, folder, keep=1).save()
    assert [path.read_bytes() for path in points] == contents
    assert sorted(outside.iterdir()) == points


def test_nothing_to_go_on_from(tmp_path: Path) -> None:
    assert RunState(tmp_path / "none", write_atomic, STEPS).restore(distiller()) == 0


def test_damaged_newest_point_falls_back_on_the_one_before(tmp_path: Path) -> None:
    model = distiller()
    fill(model, 10)
    at_step(STEPS, model, tmp_path).save()
    before = values(model)
    fill(model, 500)
    damaged = at_step(2 * STEPS, model, tmp_path).save()
    damaged.write_bytes(damaged.read_bytes()[:-200])
    assert RunState(tmp_path, write_atomic, STEPS).restore(model) == STEPS
    assert values(model) == before


@pytest.mark.parametrize("damage", [b"", b"no zip", b"PK\x03\x04 torn"])
def test_all_points_damaged_names_each(tmp_path: Path, damage: bytes) -> None:
    names = ["0000000005.npz", "0000000010.npz"]
    for name in names:
        (tmp_path / name).write_bytes(damage)
    with pytest.raises(
        CheckpointError, match="No checkpoint of this run can be used"
    ) as error:
        RunState(tmp_path, write_atomic, STEPS).restore(distiller())
    for name in names:
        assert f"{name}: cannot be read" in str(error.value)


@pytest.mark.once("torch")
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Touch:
        def __reduce__(self) -> Any:
            return Path.touch, (ran,)

    np.savez(tmp_path / "0000000005.npz", meta=np.array([Touch()], object))
    with pytest.raises(CheckpointError, match="Object arrays cannot be loaded"):
        RunState(tmp_path, write_atomic, STEPS).restore(distiller())
    assert not ran.exists()


def test_flipped_bits_are_found(tmp_path: Path) -> None:
    path = at_step(STEPS, distiller(), tmp_path).save()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read"):
        RunState(tmp_path, write_atomic, STEPS).restore(distiller())


def test_point_of_another_network_is_refused_and_changes_nothing(
    tmp_path: Path,
) -> None:
    at_step(STEPS, distiller(), tmp_path).save()
    model = distiller(width=WIDTH + 1)
    before = values(model)
    expected = re.escape("trainable variables do not fit the model")
    with pytest.raises(CheckpointError, match=expected) as error:
        RunState(tmp_path, write_atomic, STEPS).restore(model)
    assert "Was the recipe changed?" in str(error.value)
    assert values(model) == before


def test_point_of_another_format_is_refused(tmp_path: Path) -> None:
    meta = json.dumps({"format": 99, "step": 5, "callbacks": {}})
    np.savez(tmp_path / "0000000005.npz", meta=np.array(meta))
    with pytest.raises(CheckpointError, match="expected format 1, received 99"):
        RunState(tmp_path, write_atomic, STEPS).restore(distiller())


def test_a_training_that_continues_saves_finite_weights_alone(tmp_path: Path) -> None:
    model = distiller()
    state = at_step(STEPS, model, tmp_path)
    state.stop_if_not_finite = False
    state.on_epoch_end(0, {"loss": float("nan")})
    [old] = tmp_path.iterdir()
    model.trainable_variables[0].assign(model.trainable_variables[0] * float("inf"))
    state = at_step(2 * STEPS, model, tmp_path)
    state.stop_if_not_finite = False
    state.on_epoch_end(1, {"loss": 1.0})
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_loss_that_is_no_number_keeps_the_old_point(
    tmp_path: Path, loss: float
) -> None:
    model = distiller()
    old = at_step(STEPS, model, tmp_path).save()
    content = old.read_bytes()
    state = at_step(2 * STEPS, model, tmp_path)
    with pytest.raises(FloatingPointError, match="epoch 2 the loss") as error:
        state.on_epoch_end(1, {"loss": loss})
    assert "optimizer.learning_rate" in str(error.value)
    assert list(tmp_path.iterdir()) == [old]
    assert old.read_bytes() == content


def test_saved_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    at_step(STEPS, distiller(), tmp_path).on_epoch_end(0, {"loss": 1.0})
    assert [path.name for path in tmp_path.iterdir()] == ["0000000005.npz"]
