"""The state of a method that is no network's: scalars, and a number for each class."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops


class Variables:
    """How methods keep state; mixed into `AdversarialModel`, which says what for."""

    class_state: ClassVar[dict[str, float]] = {}
    class_sums: ClassVar[tuple[str, ...]] = ()

    def _state(self: Any, name: str, value: Any, dtype: str = "float32") -> Any:
        return self.add_weight(
            shape=getattr(value, "shape", ()),
            initializer=keras.initializers.Constant(value),
            dtype=dtype,
            trainable=False,
            autocast=False,
            name=name,
        )

    def make_class_variables(self: Any) -> None:
        """Make the variables of `class_state` and `class_sums` once it is known how."""
        if not self.student.built:
            return
        classes = self.student.output_shape[-1]
        starts = {**self.class_state, **dict.fromkeys(self.class_sums, 0.0)}
        for name, start in starts.items():
            if not hasattr(self, name):
                setattr(self, name, self._state(name, np.full(classes, start)))

    def sum_up(self, name: str, values: Any, y: Any) -> None:
        """Add (batch,) values to the epoch's sums of the classes that `y` names."""
        sums = getattr(self, name)
        values = ops.cast(ops.stop_gradient(values), sums.dtype)
        sums.assign_add(ops.matmul(values, ops.one_hot(y, sums.shape[0])))
