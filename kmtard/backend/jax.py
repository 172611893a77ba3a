"""JAX: every variable is passed in and out explicitly, in stateless scopes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import keras
import numpy as np

from kmtard.backend import jax_distribution as distribution
from kmtard.backend.classes import fill, pick  # noqa: F401
from kmtard.backend.fast_layers import fast_layers

JIT_COMPILE: bool | str = "auto"


class AttackingModel(keras.Model):
    fit = distribution.by_hand(keras.Model.fit)
    evaluate = distribution.by_hand(keras.Model.evaluate)
    predict = distribution.by_hand(keras.Model.predict)
    train_on_batch = distribution.by_hand(keras.Model.train_on_batch)
    test_on_batch = distribution.by_hand(keras.Model.test_on_batch)
    predict_on_batch = distribution.by_hand(keras.Model.predict_on_batch)

    train_function: Any
    test_function: Any

    def make_train_function(self, force: bool = False) -> None:
        known = None if force else self.train_function
        super().make_train_function(force)
        if self.train_function is not known:
            self.train_function = distribution.placing(self.train_function)

    def make_test_function(self, force: bool = False) -> None:
        known = None if force else self.test_function
        super().make_test_function(force)
        if self.test_function is not known:
            self.test_function = distribution.placing(self.test_function)

    @fast_layers()
    def train_step(self, state: tuple, data: tuple) -> tuple[dict, tuple]:
        data, state = self._stateless(state, lambda: self.attacked(data, training=True))
        logs, state = super().train_step(state, data)
        _, state = self._stateless(state, self.after_update)
        return logs, distribution.kept(state)

    def test_step(self, state: tuple, data: tuple) -> tuple[dict, tuple]:
        data, state = self._stateless(
            state, lambda: self.attacked(data, training=False)
        )
        logs, state = super().test_step(state, data)
        return logs, distribution.kept(state)

    def stateless_call(self, *args: Any, **kwargs: Any) -> Any:
        # Keras calls `call` here, not the layer itself. Without a call context, each
        # pass of a network is an outermost call, which clears the losses added before.
        self._get_call_context()
        try:
            return super().stateless_call(*args, **kwargs)
        finally:
            self._maybe_reset_call_context()

    def _stateless(
        self, state: tuple, function: Callable[[], Any]
    ) -> tuple[Any, tuple]:
        variables = self.trainable_variables, self.non_trainable_variables
        pairs = zip([*variables[0], *variables[1]], [*state[0], *state[1]], strict=True)
        with keras.StatelessScope(pairs) as scope:
            result = function()
        moved = ([scope.get_current_value(v) for v in group] for group in variables)
        return result, (*moved, *state[2:])


def value_and_gradient(
    function: Callable[[Any], tuple[Any, Any]], x: Any
) -> tuple[Any, Any, Any]:
    def total(x: Any) -> tuple[Any, tuple[Any, Any]]:
        values, aux = function(x)
        return values.sum(), (values, aux)

    (_, (values, aux)), gradient = jax.value_and_grad(total, has_aux=True)(x)
    return values, aux, gradient


def pullback(
    function: Callable[[Any], Any], x: Any
) -> tuple[Any, Callable[[Any], Any]]:
    values, pull = jax.vjp(function, x)
    return values, lambda cotangent: pull(cotangent)[0]


def input_gradient(
    function: Callable[[Any], Any], x: Any, state: Sequence[Any] = ()
) -> Any:
    def stateless(x: Any) -> tuple[Any, list]:
        if not state:
            return function(x), []
        # A value assigned inside `jax.grad` is lost unless it is returned from there.
        with keras.StatelessScope([(v, v.value) for v in state]) as scope:
            values = function(x)
        return values, [scope.get_current_value(v) for v in state]

    _, assigned, gradient = value_and_gradient(stateless, x)
    for variable, value in zip(state, assigned, strict=True):
        variable.assign(value)
    return gradient


def repeat(
    step: Callable[[Any], Any], x: Any, times: int, state: Sequence[Any] = ()
) -> Any:
    if not state:
        return jax.lax.fori_loop(0, times, lambda _, x: step(x), x)

    # What the body of a compiled loop assigns must leave it as an output. Inside this
    # scope the step reads no other variable: `state` has all that it needs.
    def body(_: Any, carry: tuple) -> tuple[Any, list]:
        x, values = carry
        with keras.StatelessScope(zip(state, values, strict=True)) as scope:
            x = step(x)
        return x, [scope.get_current_value(v) for v in state]

    start = x, [v.value for v in state]
    x, values = jax.lax.fori_loop(0, times, body, start)
    for variable, value in zip(state, values, strict=True):
        variable.assign(value)
    return x


def compile_function(model: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    # Variables in a closure would be compiled as constants.
    @distribution.compiled
    def stateless(values: list, *args: Any) -> tuple[Any, list]:
        variables = model.variables
        pairs = zip(variables, values, strict=True)
        with keras.StatelessScope(pairs) as scope, fast_layers():
            result = function(*args)
        return result, [scope.get_current_value(v) for v in seeds(variables)]

    # Random layers need new seeds, or they draw the same numbers at each call.
    def seeds(variables: list) -> list:
        return [v for v in variables if v.name == "seed_generator_state"]

    def stateful(*args: Any) -> Any:
        result, moved = stateless([v.value for v in model.variables], *args)
        for variable, value in zip(seeds(model.variables), moved, strict=True):
            variable.assign(value)
        return result

    return stateful


def to_numpy(array: Any) -> np.ndarray:
    return distribution.own_rows(array)


def from_numpy(array: np.ndarray, like: Any) -> Any:
    return jax.device_put(array, like.sharding)


def on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def sgd_update(*args: Any, **settings: Any) -> bool:
    del args, settings  # XLA merges the operations of the update
    return False


def size_steps() -> int | None:
    # Compiled programs are kept for the next run. A GPU is faster than its compiler.
    return 4 if on_cpu() else 1


def replicas() -> int:
    return 1


def wait_for(values: Any) -> None:
    jax.block_until_ready(values)


def allow_tf32(allowed: bool) -> None:
    # By default XLA uses TF32 where the GPU has it.
    jax.config.update("jax_default_matmul_precision", None if allowed else "highest")


def devices() -> list[str]:
    return [f"{device.device_kind} ({device})" for device in distribution.names()]


def peak_memory() -> int | None:
    statistics = jax.local_devices()[0].memory_stats() or {}
    return statistics.get("peak_bytes_in_use")


def reset_peak_memory() -> None:
    return


def step_program(model: Any, data: tuple) -> tuple[str | None, list[str]]:
    model._symbolic_build(data_batch=data)
    state = model._get_jax_state(
        trainable_variables=True,
        non_trainable_variables=True,
        optimizer_variables=True,
        metrics_variables=True,
    )
    step = jax.jit(model.train_step, donate_argnums=0)
    return step.lower(state, data).compile().as_text(), []
