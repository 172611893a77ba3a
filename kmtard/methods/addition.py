"""`Addition`: an extension that any adversarial method can add to its own loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import keras
from keras import ops

from kmtard.backend.types import Array, Tensor, Variable
from kmtard.methods.batch import Batch, Logits
from kmtard.methods.state import add_state

if TYPE_CHECKING:
    from kmtard.methods.base import AdversarialModel


class Addition(keras.layers.Layer):
    """Base class of additions, such as a further loss term or a weight perturbation.

    Pass additions to a method as `additions=(...)`. A subclass overrides the hooks that
    it needs. Each hook receives the method, so that an addition stores only its own
    settings and variables. An addition is a Keras layer, so that its variables are
    saved, loaded and resumed with those of the method. It is never called as a layer.
    Two class attributes describe it:

    * `needs`: roles of the teachers that the method must have.
    * `tracked`: names of further averages for the logs; `model.track` adds values.

    Args:
        name: name of the layer.

    Example:
    ```python
    import keras
    from keras import ops

    import kmtard
    from kmtard.methods.addition import Addition
    from kmtard.networks.small_cnn import small_cnn


    @keras.saving.register_keras_serializable(package="mypackage")
    class LogitNorm(Addition):
        tracked = ("logit_norm",)

        def __init__(self, *, weight: float = 0.1, **kwargs):
            super().__init__(**kwargs)
            self.weight = weight

        def loss(self, model, batch, logits):
            norm = ops.mean(ops.square(logits.adv[-1]), axis=-1)
            model.track("logit_norm", norm)
            return self.weight * norm

        def get_config(self):
            return {**super().get_config(), "weight": self.weight}


    model = kmtard.methods.build(
        "trades", student=small_cnn(10, (8, 8, 1)), additions=[LogitNorm(weight=0.5)]
    )
    ```
    """

    needs: ClassVar[tuple[str, ...]] = ()
    tracked: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name=name, dtype="float32")

    def bind(self, model: AdversarialModel) -> None:
        """Create the variables whose shapes depend on the method's networks.

        It is called once, when all networks are built. On JAX, this may happen inside a
        trace: use `add_state` with NumPy values. Do not store `model`, because Keras
        would save it as a part of the addition.
        """
        del model

    def add_state(
        self, name: str, value: Array, *, dtype: str | None = None
    ) -> Variable:
        """Add a variable that no optimizer updates; see `state.add_state`."""
        return add_state(self, name, value, dtype=dtype)

    def loss(self, model: AdversarialModel, batch: Batch, logits: Logits) -> Tensor:
        """Return (batch,) values to add to the method's loss; 0 by default.

        Args:
            model: the method. Its student may be called again, with
                `training=batch.training`.
            batch: the step's batch. Assign variables only if `batch.training` is True.
            logits: the student's logits.
        """
        del model, logits
        return ops.zeros_like(batch.y, "float32")

    def before_gradient(self, model: AdversarialModel, batch: Batch) -> None:
        """Change the state before the gradient of a training step is computed.

        It is called after the attack and before the student's passes. Adversarial
        weight perturbation changes the weights here.

        Args:
            model: the method, whose trained weights may be assigned.
            batch: the step's batch, with its adversarial images.
        """
        del model, batch

    def after_update(self, model: AdversarialModel) -> None:
        """Undo `before_gradient`, after the optimizer has updated the weights."""
        del model

    def default_callbacks(self) -> list[keras.callbacks.Callback]:
        """Return the callbacks that control the addition's state."""
        return []

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of an equal addition."""
        return {"name": self.name}


def check_additions(
    additions: tuple[Any, ...], roles: tuple[str, ...], method: str
) -> None:
    """Check that additions can be used with a method.

    Args:
        additions: the additions given to the method.
        roles: roles of the method's networks.
        method: name of the method's class, for the message.

    Raises:
        ValueError: an item is not an `Addition`, already belongs to a method, or needs
            a teacher that the method does not have.
    """
    for addition in additions:
        if not isinstance(addition, Addition):
            raise ValueError(
                "`additions` must contain objects of subclasses of "
                "kmtard.methods.Addition. "
                f"Received: {addition!r} of type {type(addition).__name__}."
            )
        if addition.built:
            raise ValueError(
                f"{addition!r} already belongs to a method, whose state it stores. "
                "Create a new addition for each method."
            )
        missing = [role for role in addition.needs if role not in roles]
        if missing:
            raise ValueError(
                f"{type(addition).__name__} needs a method with "
                f"{', '.join(addition.needs)}. Received: {method} with "
                f"{', '.join(roles)}."
            )
