"""Batches made ahead of the training, in threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import keras
import numpy as np

Batch = tuple[np.ndarray, np.ndarray]

THREADS = min(4, os.cpu_count() or 1)
"""They decode files side by side; NumPy alone keeps no more than two of them busy."""


class Epoch:
    """The epoch that a stream is in.

    Example:
        >>> epoch = Epoch()
        >>> epoch.assign(7)
        >>> int(epoch)
        7
    """

    def __init__(self) -> None:
        self._number = 0

    def assign(self, number: int) -> None:
        """Set it."""
        self._number = int(number)

    def __int__(self) -> int:
        """Return its number, counted from 0."""
        return self._number


class Batches(keras.utils.PyDataset):
    """Batches for `model.fit`, on every backend, that are made ahead in threads.

    Threads start with the first batch of an epoch and end with the last one. Leave the
    `with` statement to end them earlier.

    Args:
        make: Returns the batch of an epoch and a step. It is called by several threads.
        steps: The steps of an epoch, a range.
        epoch: Its number is read at each batch.

    Example:
        >>> def make(epoch, step):
        ...     return np.full((2, 1), step, "float32"), np.full(2, epoch)
        >>> with Batches(make, range(3)) as batches:
        ...     [float(x[0, 0]) for x, _ in batches]
        [0.0, 1.0, 2.0]
    """

    def __init__(
        self,
        make: Callable[[int, int], Batch],
        steps: range,
        epoch: Epoch | None = None,
    ) -> None:
        super().__init__()
        self._make, self._steps = make, steps
        self._epoch = epoch or Epoch()
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._ahead: dict[tuple[int, int], Future[Batch]] = {}
        self._error: BaseException | None = None

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._steps)

    def __getitem__(self, index: int) -> Batch:
        """Return a batch: images and labels.

        Raises:
            IndexError: `index` is outside `[0, len(self))`.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"Expected a batch from 0 to {len(self) - 1}: {index}.")
        return self._batch(int(self._epoch), index)

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the epoch that it is when the iteration starts."""
        epoch = int(self._epoch)
        try:
            for index in range(len(self)):
                yield self._batch(epoch, index)
        finally:
            self.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the threads; raise again what broke a batch.

        TensorFlow makes an error of its own of it, with the original as text.
        """
        self.close()
        if error and self._error and error is not self._error:
            raise self._error from error

    def on_epoch_end(self) -> None:
        """End the threads; Keras calls this."""
        self.close()

    def close(self) -> None:
        """End the threads. The next batch starts new ones."""
        with self._lock:
            threads, self._threads = self._threads, None
            self._ahead.clear()
        if threads:
            threads.shutdown(cancel_futures=True)

    def _batch(self, epoch: int, index: int) -> Batch:
        last = min(index + THREADS + 1, len(self) - 1)
        wanted = [(epoch, self._steps[i]) for i in range(index, last + 1)]
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(THREADS, "kmtard-data")
            ahead = self._ahead
            # Those made for another place are dropped.
            self._ahead = {
                key: ahead.get(key) or self._threads.submit(self._make, *key)
                for key in wanted
            }
            batch = self._ahead.pop(wanted[0])
        try:
            return batch.result()
        except CancelledError:
            # Another thread closed; TensorFlow keeps an iterator that nobody needs.
            return self._make(*wanted[0])
        except Exception as error:
            self._error = error
            raise
