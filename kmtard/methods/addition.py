"""`Addition`: what any adversarial method can take on top of its own loss."""

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
    """Base of additions: a loss term, a change of weights while the loss is computed.

    A method takes additions as `additions=(...)`. A subclass overrides the hooks that
    it needs; each is given the method, so that an addition holds nothing but its own
    settings and state. It is a Keras layer so that its variables are saved, loaded and
    resumed with the method's; it is never called as one. Class attributes describe it:

    * `needs`: roles of the teachers that the method must have.
    * `tracked`: names of averages for the logs, filled by `model.track`.

    Args:
        name: of the layer.

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

        Called once, when all networks are built, on JAX perhaps inside a trace. Use
        `add_state` with NumPy values, and do not keep `model`: Keras would save it as a
        part of the addition.
        """
        del model

    def add_state(
        self, name: str, value: Array, *, dtype: str | None = None
    ) -> Variable:
        """Add a variable that no optimizer moves; see `state.add_state`."""
        return add_state(self, name, value, dtype=dtype)

    def loss(self, model: AdversarialModel, batch: Batch, logits: Logits) -> Tensor:
        """Return the (batch,) values that are added to the method's loss.

        Args:
            model: the method. Its student may be called once more, with
                `training=batch.training`.
            batch: the step's batch; assign nothing unless `batch.training`.
            logits: the student's.
        """
        del model, logits
        return ops.zeros_like(batch.y, "float32")

    def before_gradient(self, model: AdversarialModel, batch: Batch) -> None:
        """Prepare a training step; adversarial weight perturbation moves weights here.

        Called after the attack and before the passes whose gradient is taken.

        Args:
            model: the method; its trained weights may be assigned.
            batch: the step's batch with its adversarial images.
        """
        del model, batch

    def after_update(self, model: AdversarialModel) -> None:
        """Undo `before_gradient`, after the optimizer has moved the weights."""
        del model

    def default_callbacks(self) -> list[keras.callbacks.Callback]:
        """Return the callbacks that drive the addition's state."""
        return []

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal addition."""
        return {"name": self.name}


def check_additions(
    additions: tuple[Any, ...], roles: tuple[str, ...], method: str
) -> None:
    """Refuse additions that do not fit a method.

    Args:
        additions: as given to the method.
        roles: of the method's networks.
        method: name of its class, for the message.

    Raises:
        ValueError: not an `Addition`, one that is in use, or one without the teacher
            that it needs.
    """
    for addition in additions:
        if not isinstance(addition, Addition):
            raise ValueError(
                "`additions` must hold objects of subclasses of "
                "kmtard.methods.addition.Addition. "
                f"Received: {addition!r} of type {type(addition).__name__}"
            )
        if addition.built:
            raise ValueError(
                f"{addition!r} already belongs to a method and keeps its state. "
                "Make a new one for each method."
            )
        missing = [role for role in addition.needs if role not in roles]
        if missing:
            raise ValueError(
                f"{type(addition).__name__} needs a method with "
                f"{', '.join(addition.needs)}. Received: {method} with "
                f"{', '.join(roles)}"
            )
