"""Methods by name, and the factories of the ablation."""

from __future__ import annotations

from types import SimpleNamespace

import keras
import pytest

from kmtard import methods, registry
from kmtard.methods import multi_teacher
from kmtard.methods.natural import Natural


@pytest.mark.parametrize(
    ("name", "temperature_rate", "weight_rate"),
    [
        ("baseline", 0, 0),
        ("baseline_ebb", 1e-3, 0),
        ("mtard", 0, 0.025),
        ("b_mtard", 1e-3, 0.025),
    ],
)
def test_build_two_teachers(
    tiny: SimpleNamespace, name: str, temperature_rate: float, weight_rate: float
) -> None:
    student, nat, adv = (tiny.network() for _ in range(3))

    model, callbacks = methods.build(
        name, student=student, nat_teacher=nat, adv_teacher=adv, seed=5, temperature=2
    )

    assert isinstance(model, multi_teacher.MultiTeacherDistiller)
    assert model.networks == {
        "student": student,
        "nat_teacher": nat,
        "adv_teacher": adv,
    }
    assert model.seed == 5
    assert float(model.nat_temperature.value) == 2
    assert float(model.adv_temperature.value) == 2
    entropy, loss = callbacks
    assert (entropy.rate, entropy.bounds) == (temperature_rate, (1, 10))
    assert (loss.rate, loss.beta) == (weight_rate, 1)


def test_factories_pass_their_arguments_on(tiny: SimpleNamespace) -> None:
    networks = [tiny.network() for _ in range(3)]

    _, (entropy, loss) = multi_teacher.b_mtard(
        *networks,
        temperature_rate=0.5,
        temperature_bounds=(2, 4),
        weight_rate=0.75,
        beta=4,
    )

    assert (entropy.rate, entropy.bounds) == (0.5, (2, 4))
    assert (loss.rate, loss.beta) == (0.75, 4)
    _, (entropy, _) = multi_teacher.baseline_ebb(*networks, temperature_rate=0.5)
    assert entropy.rate == 0.5
    _, (_, loss) = multi_teacher.mtard(*networks, weight_rate=0.75, beta=4)
    assert (loss.rate, loss.beta) == (0.75, 4)


def test_build_without_teachers(tiny: SimpleNamespace) -> None:
    model, callbacks = methods.build("natural", student=tiny.network(), seed=3)

    assert type(model) is Natural
    assert model.seed == 3
    assert callbacks == []


def test_hyphens_stand_for_underscores(tiny: SimpleNamespace) -> None:
    model, callbacks = methods.build(
        "fair-ard", student=tiny.network(), adv_teacher=tiny.network()
    )
    assert type(model).__name__ == "FairARD"
    assert callbacks


def test_build_says_what_is_wrong(tiny: SimpleNamespace) -> None:
    networks = {"student": tiny.network(), "nat_teacher": tiny.network()}

    with pytest.raises(KeyError, match="Did you mean b_mtard"):
        methods.build("b-mtrad", **networks)
    with pytest.raises(
        ValueError,
        match="'b_mtard' needs student, nat_teacher, adv_teacher. "
        "Received: student, nat_teacher$",
    ):
        methods.build("b_mtard", **networks)
    with pytest.raises(ValueError, match="'trades' needs student. Received: student, "):
        methods.build("trades", **networks)
    with pytest.raises(
        ValueError,
        match="'trades' has no argument 'betta'. Did you mean beta.* trades_original$",
    ):
        methods.build("trades", student=tiny.network(), betta=3)


@pytest.mark.parametrize("name", registry.METHODS)
def test_every_method_takes_the_options_of_its_source(
    tiny: SimpleNamespace, name: str
) -> None:
    networks = {role: tiny.network() for role in registry.positional("methods", name)}
    options = {
        option.name: option.default
        for option in registry.options("methods", name).values()
        if option.literal
    }

    model, callbacks = methods.build(name, **networks, **options)

    assert model.networks == networks
    assert all(isinstance(each, keras.callbacks.Callback) for each in callbacks)
    again = type(model).from_config(model.get_config())
    assert again.get_config() == model.get_config()


def test_temperatures_start_apart(tiny: SimpleNamespace) -> None:
    model = tiny.model(temperature=(3, 1))

    assert float(model.nat_temperature.value) == 3
    assert float(model.adv_temperature.value) == 1
