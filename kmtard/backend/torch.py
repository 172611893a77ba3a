"""PyTorch: eager; Keras tests under `no_grad`, so the attack switches it back on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import torch

JIT_COMPILE: bool | str = False


class AttackingModel(keras.Model):
    def train_step(self, data: tuple) -> dict:
        return super().train_step(self.attacked(data, training=True))

    def test_step(self, data: tuple) -> dict:
        return super().test_step(self.attacked(data, training=False))


def input_gradient(
    function: Callable[[Any], Any], x: Any, state: Sequence[Any] = ()
) -> Any:
    del state
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        total = function(x).sum()
        if not total.requires_grad:
            return torch.zeros_like(x)
        (gradient,) = torch.autograd.grad(
            total, x, allow_unused=True, materialize_grads=True
        )
    return gradient


def compile_function(model: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    del model

    def without_graph(*args: Any) -> Any:
        with torch.no_grad():
            return function(*args)

    return without_graph


def on_cpu() -> bool:
    return not torch.cuda.is_available()


def replicas() -> int:
    return 1
