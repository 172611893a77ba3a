"""Batches made in threads: their order, their errors, and the threads' end."""

from __future__ import annotations

import gc
import threading
import time

import keras
import numpy as np
import pytest

from kmtard.data.batches import THREADS, Batch, Batches, Epoch

DAMAGE = "the file of image 5 is damaged"


class Broken(Exception):
    """What a source raises."""


def threads() -> list[str]:
    every = (thread.name for thread in threading.enumerate())
    return [name for name in every if name.startswith("kmtard-data")]


def make(epoch: int, step: int) -> Batch:
    return np.full((2, 1), 10 * epoch + step, np.float32), np.full(2, step, np.int32)


def breaking(epoch: int, step: int) -> Batch:
    if step == 5:
        raise Broken(DAMAGE)
    return make(epoch, step)


def numbers(batches: Batches) -> list[float]:
    return [float(x[0, 0]) for x, _ in batches]


def test_order_and_end_of_the_threads() -> None:
    epoch = Epoch()
    batches = Batches(make, range(2, 9), epoch)
    assert numbers(batches) == [2, 3, 4, 5, 6, 7, 8]
    assert not threads()
    epoch.assign(3)
    assert numbers(batches) == [32, 33, 34, 35, 36, 37, 38]
    assert [float(batches[i][0][0, 0]) for i in (6, 0, 3, 3)] == [38, 32, 35, 35]
    for index in (-1, 7):
        with pytest.raises(IndexError, match=f"0 to 6. Received: {index}"):
            batches[index]
    assert threads()
    batches.on_epoch_end()
    assert not threads()


def test_batches_are_made_ahead_but_no_more_than_a_few() -> None:
    made: list[int] = []

    def noted(epoch: int, step: int) -> Batch:
        made.append(step)
        return make(epoch, step)

    with Batches(noted, range(100)) as batches:
        batches[0]
        deadline = time.monotonic() + 10
        while len(made) < THREADS + 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert sorted(made) == list(range(THREADS + 2))


def test_forgotten_batches_leave_no_thread() -> None:
    batches = Batches(make, range(9))
    batches[0]
    del batches
    gc.collect()
    deadline = time.monotonic() + 10
    while threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not threads()


def test_closing_while_another_thread_reads() -> None:
    """Keras closes at an epoch's end, when TensorFlow may still look ahead."""

    def slowly(epoch: int, step: int) -> Batch:
        time.sleep(0.001)
        return make(epoch, step)

    batches = Batches(slowly, range(200))
    read: list[float] = []
    reader = threading.Thread(
        target=lambda: read.extend(float(batches[i][0][0, 0]) for i in range(200))
    )
    reader.start()
    while reader.is_alive():
        batches.close()
    batches.close()
    assert read == list(range(200))
    assert not threads()


def model() -> keras.Model:
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    network.compile("sgd", "mse")
    return network


def test_what_breaks_a_batch_ends_the_training() -> None:
    """As itself, on every backend."""
    with pytest.raises(Broken, match=DAMAGE):  # noqa: SIM117
        with Batches(breaking, range(9)) as batches:
            model().fit(batches, verbose=0, shuffle=False)
    assert not threads()
    with pytest.raises(Broken, match=DAMAGE), Batches(breaking, range(9)) as batches:
        model().evaluate(batches, verbose=0)
    assert not threads()


def test_another_error_is_not_covered() -> None:
    with pytest.raises(KeyError), Batches(breaking, range(9)) as batches:
        batches[0]
        raise KeyError


def test_a_late_reader_starts_no_threads() -> None:
    """TensorFlow may read on while and after a stopped training ends."""
    with Batches(make, range(50)) as batches:
        late = iter(batches)
        next(late)
        assert threads()
    assert next(late)[0][0, 0] == 1 and batches[7][0][0, 0] == 7
    assert not threads()
    with batches:
        assert batches[3][0][0, 0] == 3 and threads()
    assert not threads()


def test_a_training_that_stops_early_leaves_no_thread() -> None:
    trained = model()
    stop = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: setattr(trained, "stop_training", True)
    )
    with Batches(make, range(50)) as batches:
        trained.fit(batches, epochs=3, verbose=0, shuffle=False, callbacks=[stop])
    assert not threads()
