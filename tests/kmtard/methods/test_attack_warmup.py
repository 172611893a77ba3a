"""The attack in training grows from nothing to its full radius."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kmtard.methods.sat import SAT


def attacked(model: Any, tiny: SimpleNamespace, done: int) -> tuple[Any, Any]:
    model.steps_taken.assign(done)
    images = ops.convert_to_tensor(tiny.x), ops.convert_to_tensor(tiny.y)
    x, x_adv = model.attacked(images, training=True)[0][:2]
    return ops.convert_to_numpy(x), ops.convert_to_numpy(x_adv)


@pytest.mark.parametrize(
    ("norm", "start"), [("linf", "gaussian"), ("l2", "uniform_clipped")]
)
def test_radius_and_step_size_grow_together(
    tiny: SimpleNamespace, norm: str, start: str
) -> None:
    attack = tiny.attack(epsilon=0.2, step_size=0.05, norm=norm, start=start)
    model = tiny.model("trades", attack=attack, attack_warmup=4)
    for done, share in ((0, 0.25), (1, 0.5), (3, 1.0), (9, 1.0)):
        sizes = {"epsilon": 0.2 * share, "step_size": 0.05 * share}
        part = tiny.attack(**sizes, norm=norm, start=start)
        same = tiny.model("trades", attack=part)
        model.attack_seed.state.assign(same.attack_seed.state)
        x, x_adv = attacked(model, tiny, done)
        np.testing.assert_allclose(x_adv, attacked(same, tiny, done)[1], atol=1e-6)
        moved = np.abs(x_adv - x).reshape(len(x), -1)
        size = moved.max() if norm == "linf" else np.linalg.norm(moved, axis=1).max()
        assert 0 < size <= 0.2 * share + 1e-6


@pytest.mark.parametrize("attack_bn", ["eval", "train"])
def test_a_compiled_loop_attacks_with_each_steps_radius(
    tiny: SimpleNamespace, attack_bn: str
) -> None:
    def trained(eager: bool) -> list[np.ndarray]:
        attack = tiny.attack(epsilon=0.3, step_size=0.2, unroll=False)
        model = SAT(tiny.network(), attack=attack, attack_bn=attack_bn, attack_warmup=3)
        model.compile("sgd", run_eagerly=eager)
        tiny.fit(model, tiny.x, tiny.y, epochs=2)
        return tiny.values(model.student.variables)

    for one, other in zip(trained(True), trained(False), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_it_is_saved_with_the_method(tiny: SimpleNamespace) -> None:
    model = tiny.model("trades", attack_warmup=7)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(model)
    )
    assert again.attack_warmup == 7


@pytest.mark.parametrize("wrong", [-1, 0.5, "ten"])
def test_wrong_numbers_of_steps_are_refused(tiny: SimpleNamespace, wrong: Any) -> None:
    with pytest.raises(ValueError, match="attack_warmup"):
        tiny.model("trades", attack_warmup=wrong)


def test_restored_training_continues_the_warmup(
    tiny: SimpleNamespace, tmp_path: Path
) -> None:
    def radius(model: Any) -> float:
        x, x_adv = attacked(model, tiny, int(ops.convert_to_numpy(model.steps_taken)))
        return float(np.abs(x_adv - x).max())

    attack = tiny.attack(epsilon=0.2, step_size=0.2)
    begun = tiny.compiled("trades", attack=attack, attack_warmup=8)
    tiny.fit(begun, tiny.x, tiny.y)
    begun.save_weights(tmp_path / "begun.weights.h5")
    restored = tiny.compiled("trades", attack=attack, attack_warmup=8)
    restored.load_weights(tmp_path / "begun.weights.h5")
    assert (
        radius(restored) == pytest.approx(radius(begun)) == pytest.approx(3 / 8 * 0.2)
    )
