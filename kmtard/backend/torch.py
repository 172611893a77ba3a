"""PyTorch: eager. Keras evaluates under `no_grad`; attacks enable gradients again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import torch
from torch.optim.sgd import sgd

from kmtard.backend.fast_layers import (
    fast_layers,
    without_gradients_of_weights,
)

JIT_COMPILE: bool | str = False


class AttackingModel(keras.Model):
    @fast_layers()
    def train_step(self, data: tuple) -> dict:
        logs = super().train_step(self.attacked(data, training=True))
        self.after_update()
        return logs

    @fast_layers()
    def test_step(self, data: tuple) -> dict:
        return super().test_step(self.attacked(data, training=False))


def value_and_gradient(
    function: Callable[[Any], tuple[Any, Any]], x: Any
) -> tuple[Any, Any, Any]:
    with torch.enable_grad(), without_gradients_of_weights():
        x = x.detach().requires_grad_()
        values, aux = function(x)
        gradient = _gradient(values.sum(), x)
    if isinstance(aux, torch.Tensor):
        aux = aux.detach()
    elif aux != ():  # walking through the structure takes long
        aux = keras.tree.map_structure(lambda t: t.detach(), aux)
    return values.detach(), aux, gradient


def pullback(
    function: Callable[[Any], Any], x: Any
) -> tuple[Any, Callable[[Any], Any]]:
    with torch.enable_grad(), without_gradients_of_weights():
        x = x.detach().requires_grad_()
        values = function(x)

    def pull(cotangent: Any) -> Any:
        return _gradient(values, x, cotangent, retain_graph=True)

    return values.detach(), pull


def _gradient(values: Any, x: Any, *cotangent: Any, retain_graph: bool = False) -> Any:
    if not values.requires_grad:
        return torch.zeros_like(x)
    (gradient,) = torch.autograd.grad(
        values,
        x,
        *cotangent,
        retain_graph=retain_graph,
        allow_unused=True,
        materialize_grads=True,
    )
    return gradient


def input_gradient(
    function: Callable[[Any], Any], x: Any, state: Sequence[Any] = ()
) -> Any:
    del state
    return value_and_gradient(lambda x: (function(x), ()), x)[2]


def pick(logits: Any, classes: Any) -> Any:
    return logits.gather(-1, _as_index(classes, logits)).squeeze(-1)


def fill(logits: Any, classes: Any, value: float) -> Any:
    return logits.scatter(-1, _as_index(classes, logits), value)


def _as_index(classes: Any, logits: Any) -> Any:
    classes = torch.as_tensor(classes, dtype=torch.int64, device=logits.device)
    return classes.unsqueeze(-1)


def repeat(
    step: Callable[[Any], Any], x: Any, times: int, state: Sequence[Any] = ()
) -> Any:
    del state
    for _ in range(times):
        x = step(x)
    return x


def compile_function(model: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    del model

    def without_graph(*args: Any) -> Any:
        with torch.no_grad(), fast_layers():
            return function(*args)

    return without_graph


def to_numpy(array: Any) -> np.ndarray:
    array = array.detach().cpu()
    return (array.float() if array.dtype == torch.bfloat16 else array).numpy()


def from_numpy(array: np.ndarray, like: Any) -> Any:
    return torch.as_tensor(array, device=like.device)


def on_cpu() -> bool:
    return not torch.cuda.is_available()


def sgd_update(
    weight: Any,
    gradient: Any,
    velocity: Any,
    *,
    learning_rate: Any,
    momentum: float,
    weight_decay: float,
    nesterov: bool,
) -> bool:
    w, v = weight.value, velocity.value
    on_cpu = all(each.device.type == "cpu" for each in (w, gradient, v))
    single = all(each.dtype == torch.float32 for each in (w, gradient, v))
    if not (on_cpu and single and _is_dense(w)):
        return False
    with torch.no_grad():
        # PyTorch's code goes through memory, whatever the order of the axes there.
        if v.stride() != w.stride():
            v.data = _laid_out(v, like=w)
        sgd(
            [w],
            [_laid_out(gradient, like=w)],
            [v],
            fused=True,
            # As a tensor, so that Python does not wait for its value.
            lr=keras.ops.convert_to_tensor(learning_rate),
            momentum=momentum,
            weight_decay=weight_decay,
            nesterov=nesterov and momentum > 0,
            dampening=0.0,
            maximize=False,
        )
    return True


def _is_dense(x: Any) -> bool:
    """Return whether the values fill their memory, in any order of the axes."""
    size = x.numel() * x.element_size()
    return x.untyped_storage().nbytes() == size and 0 not in x.stride()


def _laid_out(x: Any, like: Any) -> Any:
    if x.stride() == like.stride():
        return x
    return torch.empty_strided(like.size(), like.stride()).copy_(x)


def size_steps() -> int | None:
    return None


def replicas() -> int:
    return 1


def wait_for(values: Any) -> None:
    del values
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def allow_tf32(allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def devices() -> list[str]:
    count = torch.cuda.device_count()
    return [torch.cuda.get_device_name(index) for index in range(count)] or ["cpu"]


def peak_memory() -> int | None:
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def reset_peak_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def step_program(model: Any, data: tuple) -> tuple[str | None, list[str]]:
    tensors = keras.tree.map_structure(keras.ops.convert_to_tensor, data)
    model._symbolic_build(data_batch=tensors)
    # The first step creates the optimizer's variables, which later steps reuse.
    model.train_step(tensors)
    with torch.profiler.profile() as profile:
        model.train_step(tensors)
        wait_for(None)
    names = [event.key for event in profile.key_averages()]
    # `Tensor.item()`, which waits for the device, calls `_local_scalar_dense`.
    return None, [
        name
        for name in names
        if name == "aten::_local_scalar_dense" or "DtoH" in name or "HtoD" in name
    ]
