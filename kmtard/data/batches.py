"""Batches that threads prepare ahead of the training."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import keras
import numpy as np

Batch = tuple[np.ndarray, ...]
"""Images and labels, and maybe weights."""

THREADS = min(4, os.cpu_count() or 1)
"""Number of threads. Decoding files uses all of them, NumPy at most two."""


class Epoch:
    """The number of the current epoch, shared by a stream and its batches.

    Example:
        >>> epoch = Epoch()
        >>> epoch.assign(7)
        >>> int(epoch)
        7
    """

    def __init__(self) -> None:
        self._number = 0

    def assign(self, number: int) -> None:
        """Set the number, counted from 0."""
        self._number = int(number)

    def __int__(self) -> int:
        """Return the number, counted from 0."""
        return self._number


class Batches(keras.utils.PyDataset):
    """Batches for `model.fit` on every backend, prepared ahead in threads.

    The threads start with the first batch of an epoch and end after the last one.
    Leaving a `with` statement ends them earlier. Batches that are read after it are
    made without threads.

    Args:
        make: Returns the batch for an epoch and a step. Several threads call it.
        steps: The range of steps in an epoch.
        epoch: The current epoch, read for each batch; always 0 if left out.

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
        self._left = False
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
            raise IndexError(
                f"Expected the index of a batch from 0 to {len(self) - 1}. "
                f"Received: {index}."
            )
        return self._batch(int(self._epoch), index)

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the epoch that is current when the iteration starts."""
        epoch = int(self._epoch)
        try:
            for index in range(len(self)):
                yield self._batch(epoch, index)
        finally:
            self.close()

    def __enter__(self) -> Self:
        """Return itself."""
        self._left = False
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the threads. If making a batch failed, raise the original error again.

        TensorFlow replaces it by an error of its own that only quotes the original.
        """
        self._left = True
        self.close()
        if error and self._error and error is not self._error:
            raise self._error from error

    def on_epoch_end(self) -> None:
        """End the threads. Keras calls this."""
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
            if self._left:
                # TensorFlow may still be reading; threads that start now would stay.
                return self._make(*wanted[0])
            if self._threads is None:
                self._threads = ThreadPoolExecutor(THREADS, "kmtard-data")
            ahead = self._ahead
            # Batches that were prepared for another position are dropped.
            self._ahead = {
                key: ahead.get(key) or self._threads.submit(self._make, *key)
                for key in wanted
            }
            batch = self._ahead.pop(wanted[0])
        try:
            return batch.result()
        except CancelledError:
            # Another thread called `close`. TensorFlow keeps reading from iterators
            # whose batches are never used.
            return self._make(*wanted[0])
        except Exception as error:
            self._error = error
            raise
