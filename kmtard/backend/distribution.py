"""One training on several devices and in several processes, which only JAX supports.

With another backend, or without `distribute` and `join`, there is one device and one
process. All functions then return what they are given, and Keras's distribution API is
not touched.

All processes of a run must call the same functions in the same order, because most of
them wait for the others. Process 0 is the one that writes files.

Example:
    >>> from kmtard.backend import distribution
    >>> distribution.process()
    Process(number=0, total=1)
    >>> distribution.feed().share(10)
    slice(0, 10, None)
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import keras
import numpy as np

_jax: Any = None
if keras.backend.backend() == "jax":
    _jax = importlib.import_module("kmtard.backend.jax_distribution")


class Process(NamedTuple):
    """A process of a run.

    Attributes:
        number: counted from 0.
        total: number of processes.
    """

    number: int
    total: int

    @property
    def writes(self) -> bool:
        """Whether this process writes the files of the run."""
        return self.number == 0


def join(processes: int, coordinator: str | None = None) -> None:
    """Connect this process with the other processes of the run.

    Call this before anything is computed. It returns when all processes are there. The
    number of this process is taken from `KERAS_DISTRIBUTION_PROCESS_ID`, or from what
    JAX recognizes, such as the variables of SLURM. The same holds for the coordinator,
    with `KERAS_DISTRIBUTION_JOB_ADDRESSES`.

    Args:
        processes: number of processes, >= 2.
        coordinator: `host:port` of process 0, which all processes can reach.

    Raises:
        ValueError: the backend is not JAX, or the number of this process or the
            coordinator is unknown.
        RuntimeError: not all processes came within 5 minutes.
    """
    _require_jax(f"{processes} processes")
    _jax.join(processes, coordinator)


def distribute(devices: int | Literal["all"]) -> int:
    """Divide the batches of all models among devices from now on.

    Call this before networks are built. It sets a `keras.distribution.DataParallel`.
    With one device and one process, it changes nothing.

    Args:
        devices: number of devices of all processes together, >= 1, or "all".

    Returns:
        The number of devices.

    Raises:
        ValueError: there are fewer devices, they cannot be divided equally among the
            processes, or the backend is not JAX.
    """
    if devices == 1:
        return 1
    _require_jax("all devices" if devices == "all" else f"{devices} devices")
    found: int = _jax.distribute(devices)
    return found


def device_count() -> int:
    """Return the number of devices that share each batch."""
    layout = feed().layout
    return layout.count if layout else 1


def process() -> Process:
    """Return which process of the run this is."""
    return Process(*_jax.process()) if _jax else Process(0, 1)


@dataclass(frozen=True)
class Feed:
    """How a process provides its part of each batch, also from other threads.

    Use `feed()`, which returns that of the active distribution.

    Attributes:
        layout: how batches lie on the devices; None without a distribution.
    """

    layout: Any = None

    def share(self, count: int) -> slice:
        """Return the rows of a batch that this process provides.

        Args:
            count: number of images in the batch. If the devices cannot share it
                equally, each of them gets all of it, and each process provides all.
        """
        return _jax.share(self.layout, count) if self.layout else slice(0, count)

    def place(self, part: np.ndarray, count: int) -> Any:
        """Return a batch on all devices, from the rows that this process provides.

        Args:
            part: the rows that `share` names.
            count: number of images in the batch.

        Returns:
            The batch; `part` itself without a distribution.
        """
        return _jax.feed(self.layout, part, count) if self.layout else part


def feed() -> Feed:
    """Return how this process provides batches under the active distribution."""
    return Feed(_jax.layout() if _jax else None)


def broadcast(data: bytes | None) -> bytes:
    """Return what process 0 passes; the others may pass None."""
    if process().total == 1:
        return data or b""
    found: bytes = _jax.broadcast(data)
    return found


def any_process(flag: bool) -> Callable[[], bool]:
    """Return a function that waits and says whether the flag was set in any process."""
    if process().total == 1:
        return lambda: flag
    answer: Callable[[], bool] = _jax.any_of(flag)
    return answer


def wait_for_all(name: str) -> None:
    """Return when all processes have called this.

    Args:
        name: names the place in the program, for errors.
    """
    if process().total > 1:
        _jax.wait_for_all(name)


def is_lost(error: BaseException) -> bool:
    """Return whether an error says that another process has ended."""
    return bool(_jax and _jax.is_lost(error))


def _require_jax(wanted: str) -> None:
    if _jax is None:
        raise ValueError(
            f"Expected the backend jax for {wanted}. Received: "
            f'{keras.backend.backend()}. Set runtime.backend = "jax" '
            "(KERAS_BACKEND=jax), or train several runs at once, each on a device of "
            "its own."
        )
