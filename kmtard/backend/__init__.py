"""The few things Keras has no common call for, one short file per backend.

This is the only room that imports JAX, TensorFlow and PyTorch. It imports nothing of
kmtard.

Each module gives the same names:

* `AttackingModel`: a `keras.Model` whose train and test steps run Keras' own on
  `self.attacked(data, training)`; a training step ends with `self.after_update()`.
* `value_and_gradient(function, x)`: for `function(x) -> (values, aux)`, the values, aux
  (nested tensors) and the gradient of the sum of the values, by one pass each way.
* `input_gradient(function, x, state=())`: the gradient of the sum of `function(x)`.
  `state` is every variable that the function reads when it assigns some of them.
* `compile_function(model, function)`: `function` of tensors, compiled; it may read the
  model's variables, and sees their present values at each call.
* `to_numpy(array)`, `from_numpy(array, like)`: to NumPy, and back to the kind and the
  device of `like`.
* `on_cpu()`: whether there is no accelerator.
* `replicas()`: how many copies of a step run on shares of a batch.
* `wait_for(values)`: return once the device has computed these tensors.
* `allow_tf32(allowed)`: whether float32 matrix products may round their inputs to
  TF32, where the hardware has it; otherwise they use all digits.
* `devices()`: a description of each device that the backend sees.
* `peak_memory()`: the most bytes that the process has had on its first accelerator
  since `reset_peak_memory()`, which JAX cannot do; None on a CPU.
* `step_program(model, data)`: what one training step of a compiled model runs on a
  batch, as `(text, host)`: the optimized HLO text, None where there is no such
  program, and the names of operations seen to move values to or from the host.
* `JIT_COMPILE`: what `compile(jit_compile="auto")` stands for.
"""

import importlib
import os
import sys
from typing import Any

_NAMES = ("jax", "tensorflow", "torch")


def _check(name: str) -> None:
    if name not in _NAMES:
        raise ImportError(
            f"kmtard works on the Keras backends {', '.join(_NAMES)}. Received: "
            f"{name!r}. Set the environment variable KERAS_BACKEND to one of them "
            "before Keras is imported."
        )


if "keras" not in sys.modules:
    # Keras itself fails with other words where such a backend is not installed.
    _check(os.environ.get("KERAS_BACKEND") or _NAMES[0])

import keras  # noqa: E402
import numpy as np  # noqa: E402

_check(keras.backend.backend())
_backend = importlib.import_module(f"kmtard.backend.{keras.backend.backend()}")

AttackingModel = _backend.AttackingModel
JIT_COMPILE = _backend.JIT_COMPILE
allow_tf32 = _backend.allow_tf32
compile_function = _backend.compile_function
devices = _backend.devices
input_gradient = _backend.input_gradient
on_cpu = _backend.on_cpu
peak_memory = _backend.peak_memory
replicas = _backend.replicas
reset_peak_memory = _backend.reset_peak_memory
step_program = _backend.step_program
value_and_gradient = _backend.value_and_gradient
wait_for = _backend.wait_for

_HOMES = {"jax": "jax", "jaxlib": "jax", "tensorflow": "tensorflow", "torch": "torch"}


def to_numpy(array: Any) -> np.ndarray:
    """Return any library's array as NumPy's, whichever backend is active.

    NumPy has no bfloat16: such an array becomes float32, which holds its values.
    """
    home = _home(array)
    found = home.to_numpy(array) if home else np.asarray(array)
    return found.astype("float32") if found.dtype.name == "bfloat16" else found


def from_numpy(array: np.ndarray, like: Any) -> Any:
    """Return `array` in the kind that `like` is, whichever backend is active."""
    home = _home(like)
    return home.from_numpy(array, like) if home else array


def _home(array: Any) -> Any:
    name = _HOMES.get(type(array).__module__.partition(".")[0])
    return importlib.import_module(f"kmtard.backend.{name}") if name else None
