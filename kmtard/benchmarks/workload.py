"""The B-MTARD step for the measurements, built and run with `fit` as in user code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kmtard import attacks, backend, optimizers
from kmtard.methods.b_mtard import BMTARD

PGD_STEPS = 10
CLASSES = 10

MATRIX = 1024
"""Rows of the square matrices that measure the peak speed of a CPU."""


def random_batch(
    shape: tuple[int, int, int], batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 images `(batch_size, *shape)` in [0, 1] and their labels.

    Equal arguments always give equal images and labels.
    """
    rng = np.random.default_rng(0)
    images = rng.random((batch_size, *shape), dtype="float32")
    return images, rng.integers(0, CLASSES, batch_size)


def distiller(
    networks: Sequence[Any],
    *,
    pgd_steps: int = PGD_STEPS,
    unroll: bool | None = None,
    jit: bool | str = "auto",
) -> tuple[BMTARD, list]:
    """Return a compiled B-MTARD model and its callbacks.

    Args:
        networks: student, clean teacher, robust teacher.
        pgd_steps: steps of the attack.
        unroll: as in `attacks.PGD`.
        jit: passed to `compile` as `jit_compile`.
    """
    attack = attacks.PGD(steps=pgd_steps, unroll=unroll)
    model = BMTARD(*networks, attack=attack)
    model.compile(optimizers.L2SGD(0.01, weight_decay=2e-4), jit_compile=jit)
    return model, model.default_callbacks()


class SameBatch(keras.utils.PyDataset):
    """Repeats one batch, so that reading data takes no time.

    Args:
        batch: images and labels.
        count: number of batches in an epoch.
    """

    def __init__(self, batch: tuple[np.ndarray, np.ndarray], count: int) -> None:
        super().__init__()
        self.batch = batch
        self.count = count

    def __len__(self) -> int:
        """Return the number of batches."""
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the batch."""
        return self.batch


def stepper(
    model: BMTARD, callbacks: list, batch: tuple[np.ndarray, np.ndarray]
) -> Callable[[int], None]:
    """Return a function that trains for a number of steps and waits for the device."""

    def run(count: int) -> None:
        data = SameBatch(batch, count)
        model.fit(data, shuffle=False, verbose=0, callbacks=callbacks)
        backend.wait_for([variable.value for variable in model.variables])

    return run


def products(rows: int, dtype: str = "float32") -> Callable[[int], None]:
    """Return a function that multiplies square matrices, and waits for the device.

    Args:
        rows: number of rows and columns. A product needs `2 * rows**3` operations.
        dtype: dtype of the matrices.
    """
    values = np.random.default_rng(0).random((rows, rows), "float32")
    matrix = keras.ops.convert_to_tensor(values, dtype)

    def run(count: int) -> None:
        for _ in range(count):
            product = keras.ops.matmul(matrix, matrix)
        backend.wait_for(product)

    return run
