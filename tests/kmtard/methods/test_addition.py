"""Additions: what they change in a step, and that they live as long as the method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from kmtard import methods, registry
from kmtard.methods.addition import Addition
from kmtard.methods.rslad import RSLAD
from kmtard.methods.trades import TRADES
from kmtard.optimizers import L2SGD
from tests.kmtard.methods.learning import Mirror, Progress, Shift

RATE = 0.125


def rslad(tiny: SimpleNamespace, **kwargs: Any) -> Any:
    attack = {"attack": tiny.attack(), "evaluation_attack": tiny.attack()}
    return RSLAD(tiny.network(), tiny.network(3), **attack, **kwargs)


def multi(tiny: SimpleNamespace, **kwargs: Any) -> Any:
    return tiny.model("multi", **kwargs)


METHODS = pytest.mark.parametrize("make", [rslad, multi])
Make = Callable[..., Any]


def compiled(model: Any, **kwargs: Any) -> Any:
    model.compile(L2SGD(RATE, momentum=0.0), **{"run_eagerly": True, **kwargs})
    return model


@METHODS
def test_a_term_is_added_to_the_loss_of_any_method(
    tiny: SimpleNamespace, make: Make
) -> None:
    logs = [
        tiny.evaluate(compiled(make(tiny, additions=each)), tiny.x[:4], tiny.y[:4])
        for each in ((), [Mirror(alpha=0.5)], [Mirror(alpha=0.5), Mirror2(alpha=2.0)])
    ]

    term = logs[1]["mirror_loss"]
    assert term > 0
    assert logs[1]["loss"] == pytest.approx(logs[0]["loss"] + 0.5 * term, rel=1e-5)
    assert logs[2]["loss"] == pytest.approx(logs[0]["loss"] + 2.5 * term, rel=1e-5)


class Mirror2(Mirror):
    tracked = ("mirror2_loss",)

    def loss(self, model: Any, batch: Any, logits: Any) -> Any:
        names = SimpleNamespace(
            taught=model.taught,
            student=model.student,
            track=lambda name, values: model.track("mirror2_loss", values),
        )
        return super().loss(names, batch, logits)


@METHODS
def test_the_student_learns_from_the_term(tiny: SimpleNamespace, make: Make) -> None:
    def trained(*additions: Addition) -> list[np.ndarray]:
        model = compiled(make(tiny, additions=additions))
        model.train_on_batch(tiny.x[:4], tiny.y[:4])
        return tiny.values(model.student.trainable_variables)

    terms = Mirror(alpha=0.0), Mirror(alpha=100.0)
    without, none, with_term = trained(), *(trained(each) for each in terms)

    # BatchNorm normalizes by the batch in training: only its averages see a third pass.
    for one, other in zip(without, none, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(none, with_term, strict=True))


@METHODS
def test_additions_go_through_a_file_with_their_state(
    tiny: SimpleNamespace, tmp_path: Path, make: Make
) -> None:
    model = compiled(make(tiny, additions=[Mirror(alpha=0.5), Shift(size=0.25)]))
    tiny.fit(model, tiny.x, tiny.y, callbacks=model.default_callbacks(), epochs=2)
    model.additions[0].progress.assign(0.375)
    path = tmp_path / "model.keras"

    model.save(path)
    loaded = keras.models.load_model(path)

    mirror, shift = loaded.additions
    assert (type(mirror), mirror.alpha) == (Mirror, 0.5)
    assert float(mirror.progress.value) == 0.375
    assert (type(shift), shift.size) == (Shift, 0.25)
    assert shift.shifts
    for value in tiny.values(shift.shifts):
        np.testing.assert_array_equal(value, np.full_like(value, 0.25))
    again = type(model).from_config(model.get_config())
    assert again.get_config() == model.get_config()
    expected = tiny.evaluate(model, tiny.x, tiny.y)
    assert tiny.evaluate(loaded, tiny.x, tiny.y) == pytest.approx(expected, rel=1e-5)


def test_weights_files_hold_the_state_of_additions(
    tiny: SimpleNamespace, tmp_path: Path
) -> None:
    path = tmp_path / "model.weights.h5"
    model = compiled(rslad(tiny, additions=[Mirror()]))
    model.additions[0].progress.assign(0.375)
    model.save_weights(path)
    other = compiled(rslad(tiny, additions=[Mirror()]))

    other.load_weights(path)

    assert float(other.additions[0].progress.value) == 0.375


@pytest.mark.parametrize("eager", [True, False])
def test_the_gradient_is_taken_at_the_changed_weights(
    tiny: SimpleNamespace, eager: bool
) -> None:
    """A step of SGD at shifted weights, undone after it, moves the old ones by it."""
    start = tiny.network().get_weights()

    def moves(model: Any) -> list[np.ndarray]:
        before = tiny.values(model.student.trainable_variables)
        compiled(model, run_eagerly=eager).train_on_batch(tiny.x[:4], tiny.y[:4])
        after = tiny.values(model.student.trainable_variables)
        return [new - old for new, old in zip(after, before, strict=True)]

    # An attack that does not look at the weights, which the shift would change.
    still = {"attack": tiny.attack(epsilon=0.0), "evaluation_attack": tiny.attack()}
    shifted = TRADES(tiny.network(), **still)
    shifted.student.set_weights(start)
    for variable in shifted.student.trainable_variables:
        variable.assign(variable.value + 0.5)
    expected = moves(shifted)
    with_shift = TRADES(tiny.network(), additions=[Shift(size=0.5)], **still)
    with_shift.student.set_weights(start)
    received = moves(with_shift)
    plain = TRADES(tiny.network(), **still)
    plain.student.set_weights(start)
    unshifted = moves(plain)

    assert any(np.abs(e).max() > 1e-3 for e in expected)
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert any(
        np.abs(one - other).max() > 1e-3
        for one, other in zip(received, unshifted, strict=True)
    )


def test_evaluation_leaves_weights_alone(tiny: SimpleNamespace) -> None:
    model = compiled(tiny.model("trades", additions=[Shift(size=100.0)]))
    plain = compiled(tiny.model("trades"))

    assert tiny.evaluate(model, tiny.x, tiny.y) == tiny.evaluate(plain, tiny.x, tiny.y)


def test_callbacks_of_additions_drive_them(tiny: SimpleNamespace) -> None:
    model, callbacks = methods.build(
        "fair-ard",
        student=tiny.network(),
        adv_teacher=tiny.network(3),
        attack=tiny.attack(),
        additions=[Mirror()],
    )
    assert [type(each).__name__ for each in callbacks] == ["Progress", "ClassWeights"]
    assert isinstance(callbacks[0], Progress)
    compiled(model)

    logs = tiny.fit(
        model, tiny.x, tiny.y, callbacks=callbacks, epochs=4, initial_epoch=1
    )

    assert float(model.additions[0].progress.value) == 1.0
    assert len(logs["mirror_loss"]) == 3


def test_networks_that_are_built_later(tiny: SimpleNamespace) -> None:
    addition = Shift()
    model = compiled(
        tiny.model("natural", student=tiny.network(built=False), additions=[addition])
    )
    assert not addition.built

    tiny.fit(model, tiny.x, tiny.y)

    assert addition.built
    assert len(addition.shifts) == len(model.trainable_variables)


def test_what_does_not_fit_is_refused(tiny: SimpleNamespace) -> None:
    with pytest.raises(
        ValueError, match="`additions` must contain.*Received: 'mirror'"
    ):
        tiny.model("natural", additions=["mirror"])
    with pytest.raises(
        ValueError,
        match="Mirror needs.*adv_teacher. Received: Natural with student\\.$",
    ):
        tiny.model("natural", additions=[Mirror()])
    with pytest.raises(ValueError, match="are named 'mirror_loss'"):
        tiny.model("multi", additions=[Mirror(), Mirror()])
    used = Shift()
    tiny.model("natural", additions=[used])
    with pytest.raises(ValueError, match="already belongs to a method"):
        tiny.model("natural", additions=[used])


def test_registry_names_additions_of_a_users_own() -> None:
    name = "tests.kmtard.methods.learning:Mirror"
    assert registry.resolve("additions", name) is Mirror
    assert set(registry.options("additions", name)) == {"alpha"}


def test_an_addition_without_hooks_changes_nothing(tiny: SimpleNamespace) -> None:
    plain, added = (
        compiled(tiny.model("multi", additions=each)) for each in ((), [Addition()])
    )
    assert tiny.fit(added, tiny.x, tiny.y) == tiny.fit(plain, tiny.x, tiny.y)
