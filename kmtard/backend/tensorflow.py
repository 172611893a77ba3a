"""TensorFlow: gradients from tapes, compiled by `tf.function` and XLA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kmtard.backend.classes import fill, pick  # noqa: F401

# Keras does not use XLA on a CPU, although XLA halves the time of a step there.
JIT_COMPILE: bool | str = True


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
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        values, aux = function(x)
        total = tf.reduce_sum(values)
    zero = tf.UnconnectedGradients.ZERO
    return values, aux, tape.gradient(total, x, unconnected_gradients=zero)


def pullback(
    function: Callable[[Any], Any], x: Any
) -> tuple[Any, Callable[[Any], Any]]:
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(x)
        values = function(x)

    def pull(cotangent: Any) -> Any:
        zero = tf.UnconnectedGradients.ZERO
        return tape.gradient(
            values, x, output_gradients=cotangent, unconnected_gradients=zero
        )

    return values, pull


def input_gradient(
    function: Callable[[Any], Any], x: Any, state: Sequence[Any] = ()
) -> Any:
    del state
    return value_and_gradient(lambda x: (function(x), ()), x)[2]


def repeat(
    step: Callable[[Any], Any], x: Any, times: int, state: Sequence[Any] = ()
) -> Any:
    del state
    return keras.ops.fori_loop(0, times, lambda _, x: step(x), x)


def compile_function(model: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    del model
    return tf.function(function, autograph=False, jit_compile=True)


def to_numpy(array: Any) -> np.ndarray:
    return array.numpy()


def from_numpy(array: np.ndarray, like: Any) -> Any:
    with tf.device(like.device):
        return tf.convert_to_tensor(array)


def on_cpu() -> bool:
    return not tf.config.list_logical_devices("GPU")


def sgd_update(*args: Any, **settings: Any) -> bool:
    del args, settings  # XLA merges the operations of the update
    return False


def size_steps() -> int | None:
    return 1


def replicas() -> int:
    return tf.distribute.get_strategy().num_replicas_in_sync


def wait_for(values: Any) -> None:
    del values
    tf.test.experimental.sync_devices()


def allow_tf32(allowed: bool) -> None:
    tf.config.experimental.enable_tensor_float_32_execution(allowed)


def devices() -> list[str]:
    kinds = map(tf.config.experimental.get_device_details, _gpus())
    names = [kind.get("device_name", "unknown GPU") for kind in kinds]
    return names or [device.name for device in tf.config.list_physical_devices()]


def peak_memory() -> int | None:
    if not _gpus():
        return None
    return tf.config.experimental.get_memory_info("GPU:0")["peak"]


def reset_peak_memory() -> None:
    if _gpus():
        tf.config.experimental.reset_memory_stats("GPU:0")


def _gpus() -> list:
    return tf.config.list_physical_devices("GPU")


def step_program(model: Any, data: tuple) -> tuple[str | None, list[str]]:
    model._symbolic_build(data_batch=data)
    # A function compiled by XLA must not create variables.
    model.optimizer.build(model.trainable_variables)
    step = tf.function(model.train_step, autograph=False, jit_compile=True)
    tensors = keras.tree.map_structure(tf.convert_to_tensor, data)
    return step.experimental_get_compiler_ir(tensors)(stage="optimized_hlo"), []
