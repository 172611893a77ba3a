"""The two balances: who moves them, when, and what is left alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kmtard.callbacks import EntropyBalance, NormalizationLossBalance
from kmtard.methods.multi_teacher import MultiTeacherDistiller

TEMPERATURES = ("nat_temperature", "adv_temperature")
WEIGHTS = ("nat_weight", "adv_weight")
INITIAL = ("initial_nat_loss", "initial_adv_loss")
RATES = ("temperature_rate", "weight_rate")
LOSSES = {"loss", "nat_loss", "adv_loss", "nat_entropy", "adv_entropy"}
SCORES = {"clean_accuracy", "robust_accuracy", "w_robust_accuracy"}


def read(model: Any, *names: str) -> list[float]:
    return [float(getattr(model, name).value) for name in names]


def fit(tiny: SimpleNamespace, model: Any, *callbacks: Any, **kwargs: Any) -> dict:
    return tiny.fit(model, tiny.x, tiny.y, callbacks=list(callbacks), **kwargs)


class Spy(keras.callbacks.Callback):
    """Notes the balances' rates in each epoch; may fail in the second."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.fails = fails
        self.rates: list[list[float]] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.rates.append(read(self.model, *RATES))
        if self.fails and epoch == 1:
            raise RuntimeError("stopped in the middle")


@pytest.mark.parametrize(
    "callbacks",
    [(), (EntropyBalance(0.0), NormalizationLossBalance(0.0))],
    ids=["none", "rate 0"],
)
def test_nothing_moves_without_rates(tiny: SimpleNamespace, callbacks: tuple) -> None:
    model = tiny.compiled(temperature=(2.1, 1.3))
    before = read(model, *TEMPERATURES, *WEIGHTS)

    fit(tiny, model, *callbacks)

    assert read(model, *TEMPERATURES, *WEIGHTS) == before


def test_a_temperature_outside_the_bounds_stays_without_rate(
    tiny: SimpleNamespace,
) -> None:
    model = tiny.compiled(temperature=0.5)

    fit(tiny, model, EntropyBalance(0.0, bounds=(1, 10)))

    assert read(model, *TEMPERATURES) == [0.5, 0.5]


def test_entropy_balance_moves_temperatures_only(tiny: SimpleNamespace) -> None:
    model = tiny.compiled(temperature=2.0)

    logs = fit(tiny, model, EntropyBalance(0.125))

    assert logs["nat_entropy"] < logs["adv_entropy"], "the clean teacher is sharper"
    assert read(model, *TEMPERATURES) == [2.25, 1.75]
    assert [logs[name][0] for name in TEMPERATURES] == [2.25, 1.75]
    assert read(model, *WEIGHTS) == [0.5, 0.5]
    assert set(logs) == LOSSES | SCORES | set(TEMPERATURES)


def test_entropy_balance_keeps_to_its_bounds(tiny: SimpleNamespace) -> None:
    model = tiny.compiled()

    fit(tiny, model, EntropyBalance(0.25, bounds=(1.0, 1.375)))

    assert read(model, *TEMPERATURES) == [1.375, 1.0]


def test_loss_balance_moves_weights_only(tiny: SimpleNamespace) -> None:
    model = tiny.compiled()

    logs = fit(tiny, model, NormalizationLossBalance(0.5))

    assert read(model, *TEMPERATURES) == [1.0, 1.0]
    nat, adv = read(model, *WEIGHTS)
    assert nat != 0.5
    assert nat + adv == pytest.approx(1)
    assert [logs[name][0] for name in WEIGHTS] == [nat, adv]
    for kind, initial in zip(("nat", "adv"), read(model, *INITIAL), strict=True):
        relative = logs[f"{kind}_loss"][0] / initial
        assert logs[f"relative_{kind}_loss"] == [pytest.approx(relative)]
    relative_losses = {"relative_nat_loss", "relative_adv_loss"}
    assert set(logs) == LOSSES | SCORES | set(WEIGHTS) | relative_losses


def test_loss_is_the_weighted_sum(tiny: SimpleNamespace) -> None:
    model = tiny.compiled()
    model.nat_weight.assign(0.75)
    model.adv_weight.assign(0.25)

    logs = model.train_on_batch(tiny.x[:4], tiny.y[:4], return_dict=True)

    weighted = 0.75 * logs["nat_loss"] + 0.25 * logs["adv_loss"]
    assert logs["loss"] == pytest.approx(weighted, rel=1e-5)


def test_weights_follow_the_loss_that_falls_less(tiny: SimpleNamespace) -> None:
    model = tiny.compiled()
    losses = tiny.evaluate(model, tiny.x[:4], tiny.y[:4])
    model.initial_nat_loss.assign(losses["nat_loss"] / 10)
    model.initial_adv_loss.assign(losses["adv_loss"] * 10)

    fit(tiny, model, NormalizationLossBalance(0.5))

    nat, adv = read(model, *WEIGHTS)
    assert nat > 0.8
    assert nat + adv == pytest.approx(1)


def test_first_step_of_all_records_the_losses_once(tiny: SimpleNamespace) -> None:
    model = tiny.compiled()
    assert read(model, *INITIAL) == [0, 0]
    model.weight_rate.assign(0.5)
    model.temperature_rate.assign(0.125)

    logs = model.train_on_batch(tiny.x[:4], tiny.y[:4], return_dict=True)

    first = read(model, *INITIAL)
    assert first == pytest.approx([logs["nat_loss"], logs["adv_loss"]])
    assert read(model, *WEIGHTS) == [0.5, 0.5]
    for _ in range(2):
        fit(tiny, model, NormalizationLossBalance(0.5))
    assert read(model, *INITIAL) == first
    assert int(model.steps_taken.value) == 5


def test_callbacks_hold_for_one_fit(tiny: SimpleNamespace) -> None:
    model, spy = tiny.compiled(), Spy()
    fit(tiny, model, EntropyBalance(0.125), NormalizationLossBalance(0.5), spy)
    assert spy.rates == [[0.125, 0.5]]
    assert read(model, *RATES) == [0, 0]
    moved = read(model, *TEMPERATURES, *WEIGHTS)
    assert moved != [1, 1, 0.5, 0.5]

    fit(tiny, model)

    assert read(model, *TEMPERATURES, *WEIGHTS) == moved


def test_rates_are_off_after_a_fit_that_failed(tiny: SimpleNamespace) -> None:
    model = tiny.compiled()
    callbacks = EntropyBalance(0.125), NormalizationLossBalance(0.5)

    with pytest.raises(RuntimeError, match="stopped in the middle"):
        fit(tiny, model, *callbacks, Spy(fails=True), epochs=3)

    assert read(model, *RATES) == [0, 0]
    moved = read(model, *TEMPERATURES, *WEIGHTS)
    fit(tiny, model)
    assert read(model, *TEMPERATURES, *WEIGHTS) == moved


def test_rates_fall_at_milestones(tiny: SimpleNamespace) -> None:
    model, spy = tiny.compiled(), Spy()
    balances = (
        EntropyBalance(0.5, milestones=(1, 3), factor=0.5),
        NormalizationLossBalance(0.25, milestones=(2,), factor=0.5),
    )

    fit(tiny, model, *balances, spy, epochs=4)

    assert spy.rates == [[0.5, 0.25], [0.25, 0.25], [0.25, 0.125], [0.125, 0.125]]


def finite(model: Any) -> bool:
    return bool(np.isfinite(read(model, *TEMPERATURES, *WEIGHTS, *INITIAL)).all())


def test_the_first_loss_above_zero_is_recorded(tiny: SimpleNamespace) -> None:
    model = tiny.compiled()
    model.weight_rate.assign(0.5)
    x, y = tiny.x[:4], tiny.y[:4]

    model.train_on_batch(x, y, sample_weight=np.zeros(4, "float32"))
    assert read(model, *INITIAL) == [0, 0]
    assert read(model, *WEIGHTS) == [0.5, 0.5]

    logs = model.train_on_batch(x, y, return_dict=True)
    assert read(model, *INITIAL) == pytest.approx([logs["nat_loss"], logs["adv_loss"]])
    assert read(model, *WEIGHTS) == [0.5, 0.5]
    model.train_on_batch(x, y)
    assert read(model, *WEIGHTS) != [0.5, 0.5]
    assert finite(model)


def test_a_teacher_equal_to_the_student(tiny: SimpleNamespace) -> None:
    model = tiny.compiled(attack=tiny.attack(epsilon=0.0, start="clean"))
    for teacher in (model.nat_teacher, model.adv_teacher):
        teacher.set_weights(model.student.get_weights())

    logs = fit(
        tiny, model, NormalizationLossBalance(0.5), EntropyBalance(0.125), epochs=2
    )

    assert finite(model)
    assert np.isfinite(logs["loss"]).all()


@pytest.mark.parametrize("role", ("nat_teacher", "adv_teacher"))
def test_nothing_that_is_not_finite_stays(tiny: SimpleNamespace, role: str) -> None:
    model = tiny.compiled()
    model.weight_rate.assign(0.5)
    model.temperature_rate.assign(0.125)
    teacher = getattr(model, role)
    good = teacher.get_weights()
    teacher.set_weights([np.full_like(w, np.nan) for w in good])

    model.train_on_batch(tiny.x[:4], tiny.y[:4])
    assert finite(model)
    assert read(model, *TEMPERATURES, *WEIGHTS) == [1, 1, 0.5, 0.5]


@pytest.mark.parametrize("size", (1, 3, 11))
def test_equal_teachers_keep_equal_temperatures(
    tiny: SimpleNamespace, size: int
) -> None:
    teacher, rng = tiny.network(2), np.random.default_rng(size)
    model = MultiTeacherDistiller(
        tiny.network(),
        teacher,
        teacher,
        attack=tiny.attack(epsilon=0.0, start="clean", steps=1),
    )
    model.compile("sgd")
    model.temperature_rate.assign(0.125)
    x = rng.random((size, *tiny.shape), dtype="float32")

    logs = model.train_on_batch(x, np.zeros(size, int), return_dict=True)

    assert logs["nat_entropy"] == logs["adv_entropy"]
    assert read(model, *TEMPERATURES) == [1, 1]


class Plateau(keras.callbacks.Callback):
    """Lowers the learning rate at the end of an epoch, as `ReduceLROnPlateau` does."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        optimizer = self.model.optimizer
        optimizer.learning_rate = float(optimizer.learning_rate) / 4


@pytest.mark.parametrize(
    ("driver", "wanted"),
    [
        (
            lambda: keras.callbacks.LearningRateScheduler(
                lambda epoch, _: (0.1, 0.05, 0.2)[epoch]
            ),
            (1, 0.5, 2),
        ),
        (Plateau, (1, 0.25, 0.0625)),
    ],
    ids=["scheduler", "plateau"],
)
def test_rates_follow_the_learning_rate(
    tiny: SimpleNamespace, driver: Any, wanted: tuple
) -> None:
    model, spy = tiny.compiled(), Spy()
    balances = (
        EntropyBalance(0.125, learning_rate=0.1),
        NormalizationLossBalance(0.75, learning_rate=0.1),
    )

    fit(tiny, model, driver(), *balances, spy, epochs=3)

    temperature, weight = zip(*spy.rates, strict=True)
    assert temperature == pytest.approx([0.125 * part for part in wanted])
    # A rate above 1 would leave the weights' interval.
    assert weight == pytest.approx([min(0.75 * part, 1) for part in wanted])


def test_callbacks_refuse_other_models(tiny: SimpleNamespace) -> None:
    for callback in (EntropyBalance(), NormalizationLossBalance()):
        with pytest.raises(TypeError, match="MultiTeacherDistiller.*type Natural"):
            fit(tiny, tiny.compiled("natural"), callback)


def test_evaluation_moves_nothing(tiny: SimpleNamespace) -> None:
    random = tiny.attack(start="uniform")
    model = tiny.compiled(attack=random, evaluation_attack=random)
    # As inside a `fit`: the rates are on.
    model.temperature_rate.assign(0.5)
    model.weight_rate.assign(0.5)
    model.train_on_batch(tiny.x[:4], tiny.y[:4])
    before = tiny.values(model.variables)
    metrics = {id(v) for v in model.metrics_variables}

    tiny.evaluate(model, tiny.x, tiny.y)

    after = tiny.values(model.variables)
    for variable, one, other in zip(model.variables, before, after, strict=True):
        if id(variable) not in metrics:
            np.testing.assert_array_equal(one, other, err_msg=variable.path)


def test_training_draws_new_starts(tiny: SimpleNamespace) -> None:
    model = tiny.compiled(attack=tiny.attack(start="uniform"))
    before = ops.convert_to_numpy(model.attack_seed.state.value).tolist()

    model.train_on_batch(tiny.x[:4], tiny.y[:4])

    assert ops.convert_to_numpy(model.attack_seed.state.value).tolist() != before


def test_validation_leaves_the_training_as_it_is(tiny: SimpleNamespace) -> None:
    def trained(**kwargs: Any) -> list[np.ndarray]:
        random = tiny.attack(start="uniform")
        model = tiny.compiled(attack=random, evaluation_attack=random)
        balances = EntropyBalance(0.125), NormalizationLossBalance(0.5)
        fit(tiny, model, *balances, epochs=2, **kwargs)
        state = [getattr(model, name) for name in (*TEMPERATURES, *WEIGHTS, *INITIAL)]
        return tiny.values([*model.student.variables, *state])

    without, with_validation = trained(), trained(validation_data=(tiny.x, tiny.y))

    for one, other in zip(without, with_validation, strict=True):
        np.testing.assert_array_equal(one, other)


def test_teachers_are_frozen(tiny: SimpleNamespace) -> None:
    model = tiny.compiled()
    teachers = (model.nat_teacher, model.adv_teacher)
    before = [tiny.values(teacher.variables) for teacher in teachers]

    fit(tiny, model, epochs=2)

    assert {id(v) for v in model.trainable_variables} == {
        id(v) for v in model.student.trainable_variables
    }
    for teacher, values in zip(teachers, before, strict=True):
        assert not teacher.trainable_variables
        for one, other in zip(values, tiny.values(teacher.variables), strict=True):
            np.testing.assert_array_equal(one, other)


def test_class_scale_scales_the_losses(tiny: SimpleNamespace) -> None:
    names = ("loss", "nat_loss", "adv_loss")

    def losses(class_scale: float | None) -> list[float]:
        model = tiny.compiled(class_scale=class_scale)
        logs = tiny.evaluate(model, tiny.x[:4], tiny.y[:4])
        return [logs[name] for name in names]

    by_classes = tiny.classes / 10
    assert losses(None) == pytest.approx([by_classes * loss for loss in losses(1.0)])
