"""Batches and teachers at the edge: every method stays finite."""

from __future__ import annotations

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from kmtard import backend, methods, registry
from kmtard.optimizers import L2SGD

pytestmark = pytest.mark.once("torch")
ROLES = ("student", "nat_teacher", "adv_teacher")


def step(tiny: SimpleNamespace, method: str, *, count: int, label: int | None) -> None:
    """Take two steps with teachers that equal the student; all must stay finite."""
    needed = registry.positional("methods", method)
    networks = {role: tiny.network() for role in ROLES if role in needed}
    for network in networks.values():
        network.set_weights(networks["student"].get_weights())
    attack = tiny.attack(steps=1)
    model, callbacks = methods.build(method, **networks, attack=attack)
    model.compile(L2SGD(0.1, momentum=0.9))
    x, y = tiny.x[:count], tiny.y[:count]
    if label is not None:
        y = np.full_like(y, label)
    history = model.fit(
        x, y, batch_size=count, epochs=2, callbacks=callbacks, verbose=0
    ).history
    losses = [value for name in history if "loss" in name for value in history[name]]
    assert losses and np.isfinite(losses).all()
    for variable in model.variables:
        if keras.backend.is_float_dtype(variable.dtype):
            value = backend.to_numpy(variable.value)
            assert np.isfinite(value).all(), variable.path


@pytest.mark.parametrize("method", registry.METHODS)
def test_one_image_of_one_class_and_teachers_equal_to_the_student(
    tiny: SimpleNamespace, method: str
) -> None:
    step(tiny, method, count=1, label=0)


def test_teachers_equal_to_the_student(tiny: SimpleNamespace) -> None:
    """L(0) of the clean loss is 0 at first where the attack has no effect."""
    step(tiny, "b_mtard", count=4, label=None)
