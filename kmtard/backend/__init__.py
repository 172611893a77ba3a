"""The few things Keras has no common call for, one short file a backend.

Each module gives the same names:

* `AttackingModel`: a `keras.Model` whose train and test steps run Keras' own on
  `self.attacked(data, training)`.
* `input_gradient(function, x, state=())`: the gradient of the sum of `function(x)`.
  `state` is every variable that the function reads when it assigns some of them.
* `compile_function(model, function)`: `function` of tensors, compiled; it may read the
  model's variables, and sees their present values at each call.
* `on_cpu()`: whether there is no accelerator.
* `replicas()`: how many copies of a step run on shares of a batch.
* `JIT_COMPILE`: what `compile(jit_compile="auto")` stands for.
"""

import importlib

import keras

_backend = importlib.import_module(f"kmtard.backend.{keras.backend.backend()}")

AttackingModel = _backend.AttackingModel
JIT_COMPILE = _backend.JIT_COMPILE
compile_function = _backend.compile_function
input_gradient = _backend.input_gradient
on_cpu = _backend.on_cpu
replicas = _backend.replicas
