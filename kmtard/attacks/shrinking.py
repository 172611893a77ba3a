"""A loop whose batch shrinks as its images finish."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import keras
import numpy as np

from kmtard.attacks.base import select
from kmtard.attacks.classifier import Classifier


def shrinking_loop(
    classifier: Classifier,
    key: Hashable,
    step: Callable[..., Any],
    state: Any,
    steps: int,
    constants: Any = (),
    *,
    unfinished: Callable[[Any], np.ndarray],
    every: int,
) -> tuple[Any, np.ndarray]:
    """Run a step many times, leaving out images that need no more of it.

    Args:
        classifier: compiles the step, see `Classifier.loop`.
        key: names the step.
        step: `step(state, *constants) -> state`, row by row.
        state: nested (batch, ...) tensors.
        steps: how many, >= 0.
        constants: nested (batch, ...) tensors that stay.
        unfinished: state -> bool (batch,), the rows that go on.
        every: steps between two looks at the state; each one waits for the device.

    Returns:
        The state of the whole batch, and the steps that each row took, int (batch,).
    """
    taken = np.zeros(len(keras.tree.flatten(state)[0]), int)
    for done in range(0, steps, every):
        active = unfinished(state)
        if not active.any():
            break
        rows, count = select(active), min(every, steps - done)
        part, fixed = keras.tree.map_structure(rows.take, (state, constants))
        part = classifier.loop(key, step, part, count, fixed)
        state = keras.tree.map_structure(rows.scatter, state, part)
        taken += count * active
    return state, taken
