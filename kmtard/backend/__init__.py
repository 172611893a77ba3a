"""The few things Keras has no common call for, one short file a backend.

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
* `JIT_COMPILE`: what `compile(jit_compile="auto")` stands for.
"""

import importlib
from typing import Any

import keras
import numpy as np

_backend = importlib.import_module(f"kmtard.backend.{keras.backend.backend()}")

AttackingModel = _backend.AttackingModel
JIT_COMPILE = _backend.JIT_COMPILE
compile_function = _backend.compile_function
input_gradient = _backend.input_gradient
on_cpu = _backend.on_cpu
replicas = _backend.replicas
value_and_gradient = _backend.value_and_gradient

_HOMES = {"jax": "jax", "jaxlib": "jax", "tensorflow": "tensorflow", "torch": "torch"}


def to_numpy(array: Any) -> np.ndarray:
    """Return any library's array as NumPy's, whichever backend is active."""
    home = _home(array)
    return home.to_numpy(array) if home else np.asarray(array)


def from_numpy(array: np.ndarray, like: Any) -> Any:
    """Return `array` in the kind that `like` is, whichever backend is active."""
    home = _home(like)
    return home.from_numpy(array, like) if home else array


def _home(array: Any) -> Any:
    name = _HOMES.get(type(array).__module__.partition(".")[0])
    return importlib.import_module(f"kmtard.backend.{name}") if name else None
