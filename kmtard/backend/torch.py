"""PyTorch: eager; Keras tests under `no_grad`, so the attack switches it back on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import torch

JIT_COMPILE: bool | str = False


class AttackingModel(keras.Model):
    def train_step(self, data: tuple) -> dict:
        logs = super().train_step(self.attacked(data, training=True))
        self.after_update()
        return logs

    def test_step(self, data: tuple) -> dict:
        return super().test_step(self.attacked(data, training=False))


def value_and_gradient(
    function: Callable[[Any], tuple[Any, Any]], x: Any
) -> tuple[Any, Any, Any]:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        values, aux = function(x)
        total = values.sum()
        gradient = torch.zeros_like(x)
        if total.requires_grad:
            (gradient,) = torch.autograd.grad(
                total, x, allow_unused=True, materialize_grads=True
            )
    values, aux = keras.tree.map_structure(lambda t: t.detach(), (values, aux))
    return values, aux, gradient


def input_gradient(
    function: Callable[[Any], Any], x: Any, state: Sequence[Any] = ()
) -> Any:
    del state
    return value_and_gradient(lambda x: (function(x), ()), x)[2]


def compile_function(model: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    del model

    def without_graph(*args: Any) -> Any:
        with torch.no_grad():
            return function(*args)

    return without_graph


def to_numpy(array: Any) -> np.ndarray:
    return array.detach().cpu().numpy()


def from_numpy(array: np.ndarray, like: Any) -> Any:
    return torch.as_tensor(array, device=like.device)


def on_cpu() -> bool:
    return not torch.cuda.is_available()


def replicas() -> int:
    return 1
