"""Signals: the first one ends training after the batch, the second one at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from kmtard.training.stopping import Stopped, StopSignal

pytestmark = pytest.mark.once("torch")


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_lets_the_watched_model_stop(number: signal.Signals) -> None:
    model = SimpleNamespace(stop_training=False)
    with StopSignal() as stop:
        stop.watch(model)
        stop.batch_ended()
        stop.check()
        assert not stop.requested
        send(number)
        assert stop.requested
        assert model.stop_training
        with pytest.raises(Stopped):
            stop.check()


def test_signal_that_came_before_the_training_stops_it_too() -> None:
    model = SimpleNamespace(stop_training=False)
    with StopSignal() as stop:
        send(signal.SIGTERM)
        stop.watch(model)
    assert model.stop_training


def test_second_interrupt_does_not_wait() -> None:
    with StopSignal():
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_second_sigterm_waits_as_the_first_one() -> None:
    with StopSignal() as stop:
        send(signal.SIGTERM)
        send(signal.SIGTERM)
    assert stop.requested


def test_a_signal_during_compilation_stops_at_once() -> None:
    with StopSignal() as stop:
        stop.watch(SimpleNamespace(stop_training=False))
        with pytest.raises(Stopped):
            send(signal.SIGTERM)
        assert stop.requested


BUSY = """
import ctypes, signal, sys, time
from kmtard.training import stopping
stopping.AT_ONCE = 0.2
stopping.GRACE = 0.2
with stopping.StopSignal():
    print("ready", flush=True)
    if sys.argv[1] == "native":  # as a compiler, which returns to Python when done
        mutex = ctypes.create_string_buffer(64)
        for _ in range(2):
            ctypes.CDLL(None).pthread_mutex_lock(mutex)
    else:
        while True:
            time.sleep(0.01)
"""


@pytest.mark.parametrize(("where", "status"), [("native", 143), ("python", 130)])
def test_a_second_sigterm_ends_the_process(where: str, status: int) -> None:
    command = [sys.executable, "-c", BUSY, where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=-3) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        time.sleep(0.5)
        assert process.poll() is None
        process.terminate()
        process.wait(10)
    assert process.returncode in (status, -signal.SIGINT)


def test_closed_terminal_stops_nothing() -> None:
    with StopSignal() as stop:
        send(signal.SIGHUP)
    assert not stop.requested


def test_signals_mean_what_they_did_afterwards() -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with StopSignal():
        assert [signal.getsignal(number) for number in numbers] != before
    assert [signal.getsignal(number) for number in numbers] == before


def test_processes_stop_after_the_same_batch() -> None:
    """The answer of a batch is read after the next one, in all processes alike."""
    asked: list[bool] = []

    def any_process(flag: bool) -> Callable[[], bool]:
        asked.append(flag)
        number = len(asked)
        return lambda: asked[number - 1] or number == 5  # here, or in another process

    model = SimpleNamespace(stop_training=False)
    with StopSignal(any_process) as stop:
        stop.check()
        stop.watch(model)
        send(signal.SIGTERM)  # a single process would not wait for its first batch
        assert not stop.requested and not model.stop_training
        stop.batch_ended()
        assert asked == [False, True] and not model.stop_training
        stop.batch_ended()
        assert stop.requested and model.stop_training
        with pytest.raises(Stopped):
            stop.check()

    asked.clear()
    model.stop_training = False
    with StopSignal(any_process) as stop:
        stop.watch(model)
        for _ in range(5):
            stop.batch_ended()
        assert not model.stop_training
        stop.batch_ended()
        assert model.stop_training, "another process got the signal"
        assert not any(asked)
