"""Compiling, saving and loading of methods, where they differ from Keras' own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from kmtard import backend, losses


class Lifecycle:
    """How methods are compiled, saved and loaded; mixed into `AdversarialModel`."""

    def compile(
        self: Any,
        optimizer: Any = "rmsprop",
        *,
        run_eagerly: bool = False,
        jit_compile: bool | str = "auto",
        **kwargs: Any,
    ) -> None:
        """Configure training; as `keras.Model.compile`, without a loss.

        Raises:
            ValueError: a `loss` is given (the method has its own), or the model is to
                be spread over several TensorFlow replicas, which would train wrongly.
        """
        if kwargs.get("loss") is not None or kwargs.get("loss_weights") is not None:
            raise ValueError(
                f"{type(self).__name__} defines its own loss. Received: {kwargs}"
            )
        if backend.replicas() > 1:
            raise ValueError(
                "Several TensorFlow replicas would train wrongly: the loss is averaged "
                f"in each. Received: {backend.replicas()} replicas. Use one device, or "
                "keras.distribution.DataParallel on JAX."
            )
        if jit_compile == "auto" and not run_eagerly:
            jit_compile = backend.JIT_COMPILE
        optimizer = keras.optimizers.get(optimizer)
        scaling = keras.optimizers.LossScaleOptimizer
        if losses.has_float16(self.student) and not isinstance(optimizer, scaling):
            optimizer = scaling(optimizer)
        super().compile(  # type: ignore[misc]
            optimizer, run_eagerly=run_eagerly, jit_compile=jit_compile, **kwargs
        )

    def save_weights(self, *args: Any, **kwargs: Any) -> None:
        """Save the student, the optimiser and the method's state, not the teachers."""
        with _without_teachers(self):
            super().save_weights(*args, **kwargs)  # type: ignore[misc]

    def load_weights(self, *args: Any, **kwargs: Any) -> None:
        """Load what `save_weights` saved; the teachers stay as they are."""
        with _without_teachers(self):
            super().load_weights(*args, **kwargs)  # type: ignore[misc]

    def compile_from_config(self: Any, config: dict) -> None:
        """Compile as the saved model was."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    @classmethod
    def from_config(cls, config: dict, custom_objects: Any = None) -> Any:
        """Make the model that `get_config` described."""
        return cls(
            **{
                key: keras.saving.deserialize_keras_object(value, custom_objects)
                if isinstance(value, dict)
                else value
                for key, value in config.items()
            }
        )


@contextmanager
def _without_teachers(model: Any) -> Iterator[None]:
    """Hide the teachers from Keras' walk over a model's attributes.

    They are frozen and may be a hundred times the student's size.
    """
    teachers = {role: net for role, net in model.networks.items() if role != "student"}
    attributes = vars(model)
    # PyTorch keeps the modules among the attributes apart.
    home = attributes if teachers.keys() <= attributes.keys() else model._modules
    layers = list(model._layers)
    for role in teachers:
        del home[role]
    # Keras walks its list of layers as well, and before the attributes.
    model._layers[:] = [layer for layer in layers if layer not in teachers.values()]
    try:
        yield
    finally:
        model._layers[:] = layers
        home.update(teachers)
