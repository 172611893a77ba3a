"""Class weights and temperatures, and the third term of IAD, as epochs pass."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kmtard import balance, methods
from kmtard.attacks import PGD
from kmtard.callbacks import ClassTemperatures, ClassWeights, Introspection
from kmtard.optimizers import L2SGD

CLASSES = 3


def network(seed: int) -> Any:
    keras.utils.set_random_seed(seed)
    layers = [
        keras.layers.Input((4, 4, 1)),
        keras.layers.Flatten(),
        keras.layers.BatchNormalization(),
        keras.layers.Dense(CLASSES),
    ]
    return keras.Sequential(layers)


def built(name: str, start: str | None = None, **options: Any) -> tuple[Any, list]:
    model, callbacks = methods.build(
        name,
        student=network(1),
        adv_teacher=network(2),
        attack=PGD(0.1, step_size=0.05, steps=2, start=start),
        evaluation_attack=PGD(0.1, step_size=0.1, steps=1),
        **options,
    )
    model.compile(L2SGD(0.1), run_eagerly=True)
    return model, callbacks


def data() -> tuple[np.ndarray, np.ndarray]:
    """Classes of unequal size: 1, 3 and 8 images."""
    rng = np.random.default_rng(0)
    return rng.random((12, 4, 4, 1), "float32"), np.repeat([0, 1, 2], [1, 3, 8])


def value(variable: Any) -> np.ndarray:
    return np.array(ops.convert_to_numpy(variable.value))


class Sums(keras.callbacks.Callback):
    """Keeps what the class callback after it will use."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, np.ndarray]] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        names = (*self.model.class_sums, *self.model.class_state)
        self.seen.append({name: value(getattr(self.model, name)) for name in names})


def fit(model: Any, callbacks: list, **kwargs: Any) -> tuple[list, dict]:
    sums = Sums()
    kwargs = {"batch_size": 4, "verbose": 0, "shuffle": False, **kwargs}
    history = model.fit(*data(), callbacks=[sums, *callbacks], **kwargs).history
    return sums.seen, history


def test_class_weights_follow_the_epoch_before() -> None:
    model, callbacks = built("fair_ard")
    seen, history = fit(model, callbacks, epochs=2)
    np.testing.assert_array_equal(seen[0]["class_weights"], np.ones(CLASSES))
    np.testing.assert_array_equal(seen[0]["class_images"], [1, 3, 8])
    assert 0 < seen[0]["robust_steps"].sum() < 2 * 12
    wanted = [
        balance.class_weights(
            each["robust_steps"],
            each["class_images"],
            beta=2.0,
            bounds=(0.8333333333333334, 2.5),
        )
        for each in seen
    ]
    np.testing.assert_allclose(seen[1]["class_weights"], wanted[0], rtol=1e-6)
    np.testing.assert_allclose(value(model.class_weights), wanted[1], rtol=1e-6)
    assert history["class_weights_max"] == pytest.approx([w.max() for w in wanted])
    assert value(model.robust_steps).sum() == 0


def test_class_temperatures_follow_the_epoch_before() -> None:
    model, callbacks = built("absld", rate=0.2)
    seen, history = fit(model, callbacks, epochs=2)
    for kind in ("nat", "adv"):
        name = f"{kind}_class_temperature"
        wanted = balance.class_temperatures(
            np.ones(CLASSES),
            seen[0][f"{kind}_class_loss"],
            np.array([1.0, 3.0, 8.0]),
            rate=0.2,
            bounds=(0.5, 5.0),
        )
        assert np.abs(wanted - 1).max() == pytest.approx(0.2)
        np.testing.assert_allclose(seen[1][name], wanted, rtol=1e-6)
        assert history[f"{name}_min"][0] == pytest.approx(wanted.min())
        assert value(getattr(model, f"{kind}_class_loss")).sum() == 0


def test_rate_of_temperatures_falls_with_the_epoch_that_ends() -> None:
    model, _ = built("absld")
    fit(model, [ClassTemperatures(0.1, milestones=[1])], epochs=1)
    moved = np.abs(value(model.adv_class_temperature) - 1).max()
    assert moved == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize("name", ["fair_ard", "absld"])
def test_a_part_of_an_epoch_moves_nothing(name: str) -> None:
    model, callbacks = built(name)
    callbacks[0].steps_per_epoch = 4
    fit(model, callbacks, epochs=1)
    for state in model.class_state:
        np.testing.assert_array_equal(value(getattr(model, state)), np.ones(CLASSES))
    assert value(model.class_images).sum() == 12
    fit(model, callbacks, steps_per_epoch=1)
    assert value(model.class_images).sum() == 0, "four steps are an epoch"


@pytest.mark.parametrize("name", ["fair_ard", "absld"])
def test_evaluation_and_no_callback_move_nothing(name: str) -> None:
    model, _ = built(name)
    model.evaluate(*data(), verbose=0)
    assert value(model.class_images).sum() == 0
    fit(model, [])
    for state in model.class_state:
        np.testing.assert_array_equal(value(getattr(model, state)), np.ones(CLASSES))


def test_introspection_begins_with_its_epoch() -> None:
    model, callbacks = built("iad", begin=1)
    passes = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: passes.append(model.passes)
    )
    fit(model, [*callbacks, watch], epochs=2, batch_size=12)
    assert passes == [("adv", "adv", "nat"), ("adv", "adv", "nat", "nat")]


def test_introspection_changes_a_compiled_step() -> None:
    losses = []
    for begin in (0, 1):
        model, callbacks = built("iad", start="clean", begin=begin)
        model.compile(L2SGD(1e-9))
        _, history = fit(model, callbacks, epochs=2, batch_size=12)
        losses.append(history["loss"])
    (first, second), (without, then) = losses
    assert without < first == pytest.approx(second, rel=1e-4)
    assert then == pytest.approx(first, rel=1e-4)


def test_wrong_model() -> None:
    model, _ = methods.build("natural", student=network(1))
    model.compile(L2SGD(0.1))
    for callback in (ClassWeights(), ClassTemperatures(), Introspection()):
        with pytest.raises(TypeError, match=f"{type(callback).__name__}.* Natural"):
            fit(model, [callback])


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (ClassWeights, {"beta": -1}, "`beta` must be .* -1"),
        (ClassWeights, {"bounds": (2, 1)}, r"`bounds` must be .* \(2, 1\)"),
        (ClassTemperatures, {"rate": float("nan")}, "`rate` must be .* nan"),
        (ClassTemperatures, {"bounds": (0, 1)}, r"`bounds` must be .* \(0, 1\)"),
        (Introspection, {"begin": 1.5}, "`begin` must be .* 1.5"),
    ],
)
def test_bad_arguments(make: Any, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_class_without_images_keeps_its_state() -> None:
    images = np.array([4.0, 0.0, 4.0])
    weights = balance.class_weights(
        np.array([1.0, 0.0, 9.0]), images, beta=2.0, bounds=(0.5, 5.0)
    )
    assert weights[1] == 1
    np.testing.assert_allclose(weights[0] + min(weights[2], 2), 2.475, atol=0.03)
    temperatures = balance.class_temperatures(
        np.array([1.0, 2.0, 3.0]),
        np.array([4.0, 0.0, 8.0]),
        images,
        rate=0.1,
        bounds=(0.5, 5.0),
    )
    np.testing.assert_allclose(temperatures, [1.1, 2.0, 2.9])


def test_equal_classes_keep_their_temperatures() -> None:
    temperatures = balance.class_temperatures(
        np.ones(3), np.full(3, 5.0), np.full(3, 2.0), rate=0.1, bounds=(0.5, 5.0)
    )
    np.testing.assert_array_equal(temperatures, np.ones(3))
