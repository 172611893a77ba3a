"""Methods by name, and the classes of the ablation."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import pytest

from kmtard import methods, registry
from kmtard.methods.b_mtard import BMTARD
from kmtard.methods.baseline import Baseline
from kmtard.methods.baseline_ebb import BaselineEBB
from kmtard.methods.mtard import MTARD
from kmtard.methods.multi_teacher import MultiTeacherDistiller
from kmtard.methods.natural import Natural


@pytest.mark.parametrize(
    ("name", "method", "temperature_rate", "weight_rate"),
    [
        ("baseline", Baseline, 0, 0),
        ("baseline_ebb", BaselineEBB, 1e-3, 0),
        ("mtard", MTARD, 0, 0.025),
        ("b_mtard", BMTARD, 1e-3, 0.025),
    ],
)
def test_build_two_teachers(
    tiny: SimpleNamespace,
    name: str,
    method: type,
    temperature_rate: float,
    weight_rate: float,
) -> None:
    student, nat, adv = (tiny.network() for _ in range(3))

    model, callbacks = methods.build(
        name, student=student, nat_teacher=nat, adv_teacher=adv, seed=5, temperature=2
    )

    assert type(model) is method
    assert isinstance(model, MultiTeacherDistiller)
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


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (Baseline, {}),
        (BaselineEBB, {"temperature_rate": 0.5, "temperature_bounds": (2.0, 4.0)}),
        (MTARD, {"weight_rate": 0.75, "beta": 4.0}),
        (
            BMTARD,
            {
                "temperature_rate": 0.5,
                "temperature_bounds": (2.0, 4.0),
                "weight_rate": 0.75,
                "beta": 4.0,
            },
        ),
    ],
)
def test_balances_take_their_settings_through_a_file(
    tiny: SimpleNamespace, tmp_path: Path, method: type, settings: dict[str, Any]
) -> None:
    model = method(*(tiny.network() for _ in range(3)), **settings)
    path = tmp_path / "model.keras"
    model.save(path)

    for each in (model, keras.models.load_model(path)):
        assert type(each) is method
        entropy, loss = each.default_callbacks()
        assert entropy.rate == settings.get("temperature_rate", 0)
        assert entropy.bounds == settings.get("temperature_bounds", (1, 10))
        assert loss.rate == settings.get("weight_rate", 0)
        assert loss.beta == settings.get("beta", 1)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (BaselineEBB, {"temperature_bounds": (4.0, 2.0)}),
        (MTARD, {"weight_rate": 2.0}),
        (BMTARD, {"temperature_rate": -1.0}),
        (BMTARD, {"beta": -1.0}),
    ],
)
def test_balances_refuse_settings_out_of_range(
    tiny: SimpleNamespace, method: type, settings: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="must be"):
        method(*(tiny.network() for _ in range(3)), **settings)


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
        r"Received: student, nat_teacher\.$",
    ):
        methods.build("b_mtard", **networks)
    with pytest.raises(ValueError, match="'trades' needs student. Received: student, "):
        methods.build("trades", **networks)
    with pytest.raises(
        ValueError,
        match=r"no argument 'betta'. Did you mean beta.* trades_original\.$",
    ):
        methods.build("trades", student=tiny.network(), betta=3)


class Refused:
    """No method, though it takes a student."""

    def __init__(self, student: Any) -> None: ...


def test_build_refuses_what_is_no_method(
    tiny: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    monkeypatch.setitem(registry.METHODS, "refused", f"{__name__}:Refused")
    with pytest.raises(ValueError, match="must be a subclass of kmtard.Adversarial"):
        methods.build("refused", student=tiny.network())


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
