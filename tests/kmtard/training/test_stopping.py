"""Signals: the first one ends training after the batch, the second one at once."""

from __future__ import annotations

import os
import signal
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
