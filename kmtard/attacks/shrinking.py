"""A loop whose batch becomes smaller as images finish."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import keras
import numpy as np

from kmtard.attacks.base import select
from kmtard.attacks.classifier import Classifier

CHECK_EVERY = 20
"""Usual number of steps between two checks of which images are finished."""


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
    """Run a step repeatedly on the images that are not finished.

    Args:
        classifier: compiles the step; see `Classifier.loop`.
        key: identifies the step; see `Classifier.compiled`.
        step: `step(state, *constants) -> state`; each row depends on itself only.
        state: nested (batch, ...) tensors.
        steps: number of steps, >= 0.
        constants: nested (batch, ...) tensors that do not change.
        unfinished: maps the state to bool (batch,), the rows that continue.
        every: number of steps, >= 1, between two calls of `unfinished`, each of which
            waits for the device.

    Returns:
        The state of the whole batch, and the number of steps of each row, int (batch,).
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
