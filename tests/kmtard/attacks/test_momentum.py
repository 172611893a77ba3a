"""FGSM with momentum: its parts, and what it shares with PGD."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kmtard.attacks import (
    PGD,
    MomentumFGSM,
    di2_fgsm,
    mi_fgsm,
    momentum,
    transfer_ti_fgsm,
)

pytestmark = pytest.mark.quick("torch")

SHAPE = (10, 7, 2)
BATCH = 40


def net(shape: tuple[int, ...] = SHAPE, last: bool = True) -> keras.Model:
    data_format = "channels_last" if last else "channels_first"
    return keras.Sequential(
        [
            layers.Input(shape),
            layers.Flatten(data_format=data_format),
            layers.Dense(9, activation="tanh"),
            layers.Dense(4),
        ]
    )


@pytest.fixture(scope="module")
def model() -> keras.Model:
    made = net()
    random = np.random.default_rng(1)
    made.set_weights([random.normal(0, 0.4, w.shape) for w in made.get_weights()])
    return made


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).random((BATCH, *SHAPE), "float32")


@pytest.fixture(scope="module")
def y(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return ops.convert_to_numpy(model(x)).argmax(-1)


def keys() -> Any:
    return ops.convert_to_tensor(np.arange(2 * BATCH).reshape(BATCH, 2), "int32")


def draw(x: np.ndarray, *, step: int = 0, resize: float = 0.5) -> momentum.Resizing:
    steps = ops.full((BATCH,), step, "int32")
    drawn = momentum.drawn(x, keys(), steps, 0.5, resize, True)
    return momentum.Resizing(*map(ops.convert_to_numpy, drawn))


def resized(x: np.ndarray, drawn: momentum.Resizing) -> np.ndarray:
    tensors = keras.tree.map_structure(ops.convert_to_tensor, (x, drawn))
    return ops.convert_to_numpy(momentum.resized(*tensors, channels_last=True))


def test_without_any_option_it_is_pgd(
    model: keras.Model, x: np.ndarray, y: np.ndarray
) -> None:
    budget: dict[str, Any] = {"step_size": 0.02, "steps": 5}
    wanted = PGD(0.1, **budget, start="clean").run(model, x, y)
    found = MomentumFGSM(0.1, **budget, decay=0.0).run(model, x, y)
    np.testing.assert_allclose(found.x_adv, wanted.x_adv, atol=1e-6)
    for name in ("success", "queries", "forwards", "backwards"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


def test_choices_are_within_the_image_and_differ(x: np.ndarray) -> None:
    first, second = draw(x), draw(x, step=1)
    assert first.height.min() == 5 and first.height.max() == 9
    assert first.width.min() == 3 and first.width.max() == 6
    assert (first.top + first.height <= 10).all() and first.top.max() > 0
    assert (first.left + first.width <= 7).all() and first.left.max() > 0
    assert 0.2 < first.used.mean() < 0.8
    assert (first.height != second.height).any()


def test_resized_images_are_small_copies_on_black(x: np.ndarray) -> None:
    drawn = draw(x)
    found = resized(np.ones_like(x), drawn)
    for image, *choice in zip(found, *drawn, strict=True):
        used, height, width, top, left = map(int, choice)
        wanted = np.ones(SHAPE)
        if used:
            wanted[:] = 0
            wanted[top : top + height, left : left + width] = 1
        np.testing.assert_allclose(image, wanted, atol=1e-6)
    same = momentum.Resizing(
        *(np.full(BATCH, value) for value in (True, *map(np.int32, (*SHAPE[:2], 0, 0))))
    )
    found = resized(x, same)
    np.testing.assert_allclose(found, x, atol=1e-6)


def test_blur_spreads_a_point_and_keeps_its_sum() -> None:
    point = np.zeros((1, 9, 9, 1), "float32")
    point[0, 4, 4] = 1
    tensor = ops.convert_to_tensor(point)
    found = ops.convert_to_numpy(momentum.blurred(tensor, 5, channels_last=True))
    assert found.sum() == pytest.approx(1, abs=1e-5)
    assert (found > 0).sum() == 25 and found.argmax() == 40
    np.testing.assert_allclose(found, found.transpose(0, 2, 1, 3), atol=1e-7)
    unchanged = momentum.blurred(tensor, 1, channels_last=True)
    np.testing.assert_array_equal(ops.convert_to_numpy(unchanged), point)


def test_channels_first_is_the_same_attack(
    model: keras.Model, x: np.ndarray, y: np.ndarray
) -> None:
    height, width, channels = SHAPE
    first = net((channels, height, width), last=False)
    first.set_weights(model.get_weights())
    attack = MomentumFGSM(0.1, steps=4, diversity=0.7, resize=0.5, kernel=3)
    wanted = attack.run(model, x, y)
    found = attack.run(first, x.transpose(0, 3, 1, 2), y)
    np.testing.assert_allclose(
        found.x_adv.transpose(0, 2, 3, 1), wanted.x_adv, atol=1e-6
    )


def test_zero_gradients_change_nothing(x: np.ndarray, y: np.ndarray) -> None:
    flat = net()
    flat.set_weights([np.zeros(w.shape) for w in flat.get_weights()])
    np.testing.assert_array_equal(mi_fgsm(epsilon=0.1)(flat, x, y), x)


def test_settings_of_the_papers(model: keras.Model) -> None:
    assert di2_fgsm(decay=1.0).get_config()["decay"] == 1
    assert di2_fgsm().get_config()["diversity"] == 0.5
    config = transfer_ti_fgsm(model, steps=7).attack.get_config()
    assert config["kernel"] == 15 and config["steps"] == 7 and config["decay"] == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"decay": 1.5}, "decay.*1.5"),
        ({"kernel": 4}, "`kernel` must be odd, or 0. Received: 4"),
        ({"resize": 1.0}, "resize.*1.0"),
        ({"diversity": -0.1}, "diversity.*-0.1"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MomentumFGSM(**arguments)
