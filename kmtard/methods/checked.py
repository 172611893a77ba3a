"""`CheckedModel`: Keras's `fit` and `evaluate` with checks of their data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras

from kmtard import backend
from kmtard.backend.types import Network, Variable
from kmtard.callbacks.input_guard import InputGuard
from kmtard.methods.checks import check_data, check_trainable
from kmtard.methods.scores import set_directions


class CheckedModel(backend.AttackingModel):
    """A model that checks its data, and checks that its networks can be trained.

    Attributes:
        trackers: name -> average in the logs.
        num_classes: number of classes of the labels; None if unknown.
        invalid_inputs: variable in which the steps record invalid data.
    """

    trackers: dict[str, keras.metrics.Mean]
    num_classes: Any
    invalid_inputs: Variable

    @property
    def trained_networks(self) -> Mapping[str, Network]:
        """Role -> network that training changes."""
        raise NotImplementedError(
            f"{type(self).__name__} must define `trained_networks`."
        )

    def fit(
        self, x: Any = None, y: Any = None, *args: Any, callbacks: Any = None, **kw: Any
    ) -> Any:
        """Train like `keras.Model.fit`, after checking the data.

        Arrays are checked before the first step. All other data are checked in each
        step. The epoch then ends with an error that names the first invalid batch.

        Raises:
            ValueError: images are not finite floats in [0, 1], labels are neither
                class numbers of the student nor one-hot rows, or a network that should
                be trained is frozen.
        """
        given = _bound(super().fit, x, y, *args, callbacks=callbacks, **kw)
        check_trainable(self.trained_networks)
        for images, labels in (
            (x, y),
            (given.arguments.get("validation_data"), None),
        ):
            check_data(images, labels, self.num_classes)
        guarded = _guarded(given.arguments["callbacks"])
        set_directions(guarded, self.trackers)
        given.arguments["callbacks"] = guarded
        return super().fit(*given.args, **given.kwargs)

    def evaluate(
        self, x: Any = None, y: Any = None, *args: Any, callbacks: Any = None, **kw: Any
    ) -> Any:
        """Evaluate like `keras.Model.evaluate`, after the checks of `fit`.

        Raises:
            ValueError: images or labels are invalid; see `fit`.
        """
        given = _bound(super().evaluate, x, y, *args, callbacks=callbacks, **kw)
        callbacks = given.arguments["callbacks"]
        # Inside `fit`, Keras passes the callbacks of `fit`, which checked the data.
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            check_data(x, y, self.num_classes)
        given.arguments["callbacks"] = _guarded(callbacks)
        return super().evaluate(*given.args, **given.kwargs)

    def train_on_batch(self, x: Any, y: Any = None, *args: Any, **kw: Any) -> Any:
        """Train on one batch like `keras.Model`, after the checks of `fit`.

        Raises:
            ValueError: images or labels are invalid, or a network is frozen; see `fit`.
        """
        check_trainable(self.trained_networks)
        check_data(x, y, self.num_classes)
        logs = super().train_on_batch(x, y, *args, **kw)
        self.invalid_inputs.assign(0.0)
        return logs

    def test_on_batch(self, x: Any, y: Any = None, *args: Any, **kw: Any) -> Any:
        """Evaluate one batch like `keras.Model`, after the checks of `fit`.

        Raises:
            ValueError: images or labels are invalid; see `fit`.
        """
        check_data(x, y, self.num_classes)
        logs = super().test_on_batch(x, y, *args, **kw)
        self.invalid_inputs.assign(0.0)
        return logs


def _bound(
    function: Callable[..., Any], *args: Any, callbacks: Any, **kw: Any
) -> inspect.BoundArguments:
    """Return arguments by name, even if `callbacks` is a positional argument.

    Raises:
        TypeError: `function` does not accept the arguments.
    """
    signature = inspect.signature(function)
    if callbacks is not None:
        kw["callbacks"] = callbacks
    given = signature.bind(*args, **kw)
    given.arguments.setdefault("callbacks", None)
    return given


def _guarded(callbacks: Any) -> Any:
    """Return the callbacks with an `InputGuard` before all others."""
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        return [InputGuard(), *keras.tree.flatten(callbacks or [])]
    if not any(isinstance(each, InputGuard) for each in callbacks.callbacks):
        guard = InputGuard()
        guard.set_model(callbacks.model)
        guard.set_params(callbacks.params)
        callbacks.callbacks.insert(0, guard)
    return callbacks
