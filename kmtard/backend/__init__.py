"""The operations that Keras does not offer for all backends, one file per backend.

Only these files import JAX, TensorFlow and PyTorch; `pyproject.toml` lists the few
exceptions. They import nothing else of kmtard. `distribution` is for several devices
and processes, which only JAX supports. `fast_layers` replaces methods of Keras's layers
by faster ones while our models compute; `jax_layers`, `torch_layers` and `torch_graphs`
have them. `keep_derived()` is a block in which what a faster layer computes from
weights alone may be used again. With `without_gradients_of_weights()`, the caller
promises to need no gradient of a weight inside the block: it may be missing.

Each module defines the same names:

* `AttackingModel`: a `keras.Model`. Its train and test steps run those of Keras on
  `self.attacked(data, training)`. A training step ends with `self.after_update()`.
* `value_and_gradient(function, x)`: for `function(x) -> (values, aux)`, return the
  values, aux (nested tensors) and the gradient of the sum of the values with respect to
  x, from one forward and one backward pass.
* `pullback(function, x)`: return `values = function(x)`, and a function from a tensor
  like the values to the gradient of its product with them with respect to x. It may be
  called several times; each call is one backward pass.
* `input_gradient(function, x, state=())`: return the gradient of the sum of
  `function(x)` with respect to x. If the function assigns variables, `state` lists
  every variable that it reads.
* `pick(logits, classes)`: return the logit of one class per image: (batch, classes) and
  (batch,) integers to (batch,).
* `fill(logits, classes, value)`: return logits with `value` at one class per image.
* `repeat(step, x, times, state=())`: x after `times` calls of `x = step(x)`, compiled
  as a loop; `state` is every variable that `step` reads, if it assigns any of them.
* `compile_function(model, function)`: return `function`, a function of tensors,
  compiled. It may read the model's variables; each call uses their current values.
* `to_numpy(array)`, `from_numpy(array, like)`: convert to NumPy, and back to the array
  type and the device of `like`. Of a batch that several processes divide, NumPy gets
  the rows of this one.
* `on_cpu()`: return whether there is no accelerator.
* `sgd_update(weight, gradient, velocity, **settings)`: update variables as `L2SGD` does
  in one pass over memory, and return True; or return False, if there is no such code.
* `size_steps()`: return how many batch sizes to compile for between two powers of two,
  with the upper one; None if nothing is compiled.
* `replicas()`: return the number of replicas that share each batch.
* `wait_for(values)`: return when the device has computed these tensors.
* `allow_tf32(allowed)`: set whether float32 matrix products may round their inputs to
  TF32 on hardware that supports it. Otherwise they use full float32 precision.
* `devices()`: return a description of each device that the backend sees.
* `peak_memory()`: return the largest number of bytes that the process has used on its
  first accelerator since `reset_peak_memory()`; None on a CPU. JAX cannot reset it.
* `step_program(model, data)`: return `(text, host)` for one training step of a compiled
  model on a batch. `text` is the optimized HLO, or None if the backend has none; `host`
  names the operations that move values to or from the host.
* `JIT_COMPILE`: the value that replaces `compile(jit_compile="auto")`.
"""

import importlib
import os
import sys
from typing import Any

_NAMES = ("jax", "tensorflow", "torch")
_FASTER = {"jax": "jax_layers", "torch": "torch_graphs"}


def _check(name: str) -> None:
    if name not in _NAMES:
        raise ImportError(
            f"kmtard supports the Keras backends {', '.join(_NAMES)}. Received: "
            f"{name!r}. Set the environment variable KERAS_BACKEND to one of them "
            "before Keras is imported."
        )


if "keras" not in sys.modules:
    # Checked before Keras is imported, whose own error names no supported backend.
    _check(os.environ.get("KERAS_BACKEND") or _NAMES[0])

import keras  # noqa: E402
import numpy as np  # noqa: E402

_check(keras.backend.backend())
_backend = importlib.import_module(f"kmtard.backend.{keras.backend.backend()}")

# Only for the active backend: those above are also imported for arrays of their kind.
if keras.backend.backend() in _FASTER:
    importlib.import_module(f"kmtard.backend.{_FASTER[keras.backend.backend()]}")

from kmtard.backend import fast_layers as _fast_layers  # noqa: E402

AttackingModel = _backend.AttackingModel
JIT_COMPILE = _backend.JIT_COMPILE
allow_tf32 = _backend.allow_tf32
compile_function = _backend.compile_function
devices = _backend.devices
fill = _backend.fill
input_gradient = _backend.input_gradient
keep_derived = _fast_layers.keep_derived
on_cpu = _backend.on_cpu
peak_memory = _backend.peak_memory
pick = _backend.pick
pullback = _backend.pullback
repeat = _backend.repeat
replicas = _backend.replicas
reset_peak_memory = _backend.reset_peak_memory
sgd_update = _backend.sgd_update
size_steps = _backend.size_steps
step_program = _backend.step_program
value_and_gradient = _backend.value_and_gradient
wait_for = _backend.wait_for
without_gradients_of_weights = _fast_layers.without_gradients_of_weights

_HOMES = {"jax": "jax", "jaxlib": "jax", "tensorflow": "tensorflow", "torch": "torch"}


def to_numpy(array: Any) -> np.ndarray:
    """Return an array of any library as a NumPy array, whichever backend is active.

    A bfloat16 array becomes float32, which represents the same values: NumPy has no
    bfloat16.

    Args:
        array: a NumPy, JAX, TensorFlow or PyTorch array, or nested lists of numbers.
    """
    home = _home(array)
    found = home.to_numpy(array) if home else np.asarray(array)
    return found.astype("float32") if found.dtype.name == "bfloat16" else found


def from_numpy(array: np.ndarray, like: Any) -> Any:
    """Return a NumPy array as an array of the same library and device as `like`."""
    home = _home(like)
    return home.from_numpy(array, like) if home else array


def is_torch_module(target: Any) -> bool:
    """Return whether an object is a PyTorch module, without importing PyTorch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(target, torch.nn.Module)


def _home(array: Any) -> Any:
    name = _HOMES.get(type(array).__module__.partition(".")[0])
    return importlib.import_module(f"kmtard.backend.{name}") if name else None
