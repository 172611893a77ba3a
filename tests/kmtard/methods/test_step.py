"""Properties of the compiled step: traces, memory, precision, waiting."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kmtard import losses
from kmtard.methods.batch import Batch, Logits
from kmtard.methods.trades import TRADES
from kmtard.optimizers import L2SGD

BACKEND = keras.backend.backend()


@pytest.fixture
def policy() -> Iterator[Any]:
    """Set a global dtype policy for one test."""
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    ("method", "attack_bn"), (("multi", "eval"), ("trades", "train"))
)
def test_compiled_step_equals_eager_step(
    tiny: SimpleNamespace, method: str, attack_bn: str
) -> None:
    models = [tiny.compiled(method, eager, attack_bn=attack_bn) for eager in (0, 1)]

    for model in models:
        for _ in range(2):
            model.train_on_batch(tiny.x[:4], tiny.y[:4])

    for one, other in zip(*(tiny.values(m.variables) for m in models), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(("attack_bn", "moves"), (("eval", False), ("train", True)))
def test_attack_moves_the_averages_only_when_asked(
    tiny: SimpleNamespace, attack_bn: str, moves: bool
) -> None:
    model = tiny.model("natural", attack_bn=attack_bn)
    model.passes = ("adv",)
    before = tiny.values(model.student.variables)

    model.attacked((ops.convert_to_tensor(tiny.x), tiny.y), training=True)

    after = tiny.values(model.student.variables)
    moved = [not np.array_equal(*pair) for pair in zip(before, after, strict=True)]
    # Kernel, bias, gamma, beta, then the two averages, then the last layer.
    assert moved == [False] * 4 + [moves] * 2 + [False] * 2


class Counting(TRADES):
    """Counts the times its loss runs as Python, by what it runs for."""

    def outer_loss(self, batch: Batch, logits: Logits) -> Any:
        self.calls.append((batch.training, batch.x_nat.shape[0]))
        return super().outer_loss(batch, logits)


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch runs eagerly, traces nothing")
def test_one_trace_for_each_shape(tiny: SimpleNamespace) -> None:
    model = Counting(
        tiny.network(), attack=tiny.attack(), evaluation_attack=tiny.attack()
    )
    model.compile("sgd", jit_compile=BACKEND == "jax")
    model.calls = []

    x, y = tiny.x[:6], tiny.y[:6]
    tiny.fit(model, x, y, epochs=3, validation_data=(x, y), validation_batch_size=3)

    assert len([1 for training, _ in model.calls if training]) <= 2
    assert len([1 for training, _ in model.calls if not training]) <= 1


@pytest.mark.skipif(BACKEND != "torch", reason="a traced step cannot read a value")
def test_step_waits_for_nothing(
    tiny: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step reads no value on the host.

    JAX and TensorFlow trace the step, where any reading is an error, as every
    compiled test shows; in PyTorch the ways of reading are taken away.
    """
    torch = pytest.importorskip("torch")

    model = tiny.compiled("multi")
    model.train_on_batch(tiny.x, tiny.y)
    data = (ops.convert_to_tensor(tiny.x), ops.convert_to_tensor(tiny.y))

    def refuse(tensor: Any, *args: Any, **kwargs: Any) -> None:
        raise AssertionError("a value was read on the host")

    with monkeypatch.context() as patch:
        for name in ("item", "tolist", "numpy", "__float__", "__int__", "__bool__"):
            patch.setattr(torch.Tensor, name, refuse)
        model.train_step(data)
        model.test_step(data)


@pytest.mark.parametrize("unroll", (True, False))
@pytest.mark.skipif(BACKEND != "jax", reason="the sizes are those of XLA on JAX")
def test_compiled_attack_keeps_no_activations(
    tiny: SimpleNamespace, unroll: bool
) -> None:
    """A loop needs the same memory for any steps; unrolled, XLA keeps the iterates."""
    import jax

    student, y = tiny.network(), ops.convert_to_tensor(tiny.y, "int32")

    def bytes_for(steps: int) -> int:
        attack = tiny.attack(steps=steps, unroll=unroll)

        def crafted(x: Any) -> Any:
            return attack.perturb(
                lambda images: student(images, training=False),
                x,
                lambda logits: losses.cross_entropy(y, logits),
            )

        compiled = jax.jit(crafted).lower(tiny.x).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    iterates = 18 * tiny.x.nbytes if unroll else 0
    assert bytes_for(20) <= 1.2 * bytes_for(2) + iterates


@pytest.mark.skipif(BACKEND == "jax", reason="see the compiled attack above")
def test_attack_keeps_no_iterate_alive(tiny: SimpleNamespace) -> None:
    student, y = tiny.network(), ops.convert_to_tensor(tiny.y, "int32")
    seen: list[weakref.ref] = []
    alive = []
    # What exists by now need not be looked through.
    gc.freeze()

    def predict(images: Any) -> Any:
        gc.collect()
        alive.append(sum(reference() is not None for reference in seen))
        seen.append(weakref.ref(images))
        return student(images, training=False)

    x_adv = tiny.attack(steps=5, unroll=True).perturb(
        predict,
        ops.convert_to_tensor(tiny.x),
        lambda logits: losses.cross_entropy(y, logits),
    )

    gc.unfreeze()
    assert max(alive) <= 2
    if BACKEND == "torch":
        assert not x_adv.requires_grad


@pytest.mark.parametrize("given", (False, True), ids=["plain", "wrapped"])
@pytest.mark.parametrize("name", ("mixed_bfloat16", "mixed_float16"))
def test_mixed_precision_trains(
    tiny: SimpleNamespace, policy: Any, name: str, given: bool
) -> None:
    policy(name)
    student = tiny.network()
    policy("float32")
    model = tiny.model("multi", student=student)
    optimizer = L2SGD(0.1)
    if given:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer, run_eagerly=True)
    before = tiny.values(student.trainable_variables)

    logs = tiny.fit(model, tiny.x, tiny.y, validation_data=(tiny.x, tiny.y))

    assert np.isfinite([logs["loss"], logs["val_loss"]]).all()
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (given or name == "mixed_float16")
    if scaled:
        assert type(model.optimizer.inner_optimizer) is L2SGD
    after = tiny.values(student.trainable_variables)
    assert any(not np.array_equal(*pair) for pair in zip(before, after, strict=True))
