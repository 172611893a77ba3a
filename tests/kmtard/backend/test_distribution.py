"""A training on several devices is that on one device, up to rounding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from kmtard import registry
from kmtard.backend import distribution
from tests.kmtard.conftest import BACKEND, ROOT

ALL = "1,2,4"  # devices
TWO_TEACHERS = [
    name
    for name in registry.METHODS
    if {"nat_teacher", "adv_teacher"} <= set(registry.positional("methods", name))
]


def differences(*words: object, **variables: str) -> dict[str, Any]:
    process = subprocess.run(
        [sys.executable, "-m", "tests.kmtard.backend.agreement", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    found: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    assert found.pop("same noise"), "the start noise depends on the devices"
    return found


@pytest.mark.once("jax")
def test_devices_agree_after_two_steps_of_which_the_last_is_partial() -> None:
    found = differences("1,4", "train", 2, "b_mtard")["b_mtard"]
    assert found["begun"] == 0, "the same seed gives other weights"
    assert max(found["ended"], found["logs"]) < 1e-5


@pytest.mark.slow
@pytest.mark.once("jax")
@pytest.mark.parametrize("name", registry.METHODS)
def test_devices_agree_after_one_step_of_each_method(name: str) -> None:
    found = differences(ALL, "train", 1, name)[name]
    assert found["begun"] == 0
    assert max(found["ended"], found["logs"]) < 1e-5


@pytest.mark.slow
@pytest.mark.once("jax")
@pytest.mark.parametrize("name", TWO_TEACHERS)
def test_devices_agree_after_twenty_steps_with_two_teachers(name: str) -> None:
    found = differences(ALL, "train", 20, name)[name]
    assert max(found["ended"], found["logs"]) < 1e-5


@pytest.mark.slow
@pytest.mark.once("jax")
@pytest.mark.parametrize("name", ["trades", "score"])
def test_what_forks_after_twenty_steps_is_a_gradients_sign(name: str) -> None:
    """The gradient of a divergence from a start near its image is close to zero.

    In float32, the devices add in another order, which changes the sign of such values.
    In float64, it does not, so nothing else differs.
    """
    found = differences(ALL, "train", 20, name, JAX_ENABLE_X64="1")[name]
    assert max(found["ended"], found["logs"]) < 1e-12


@pytest.mark.slow
@pytest.mark.once("jax")
def test_devices_agree_under_each_attack() -> None:
    found = differences("1,4", "attack", *registry.ATTACKS)
    assert found == dict.fromkeys(registry.ATTACKS, 0)


@pytest.mark.every_backend
def test_without_devices_everything_stays_as_it_is() -> None:
    batch = np.arange(6.0)
    feed = distribution.feed()
    assert distribution.distribute(1) == distribution.device_count() == 1
    assert distribution.process() == (0, 1) and distribution.process().writes
    assert feed.share(5) == slice(0, 5) and feed.place(batch, 6) is batch
    assert distribution.broadcast(b"a") == b"a" and distribution.broadcast(None) == b""
    assert distribution.any_process(True)() and not distribution.any_process(False)()
    distribution.wait_for_all("here")
    assert not distribution.is_lost(ValueError("gloo"))


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has several devices")
def test_other_backends_refuse_several_devices_with_the_way_out() -> None:
    expected = f"backend jax for 2 devices. Received: {BACKEND}. Set runtime.backend"
    with pytest.raises(ValueError, match=expected):
        distribution.distribute(2)
    with pytest.raises(ValueError, match="jax for all devices"):
        distribution.distribute("all")
    with pytest.raises(ValueError, match="jax for 2 processes"):
        distribution.join(2)


@pytest.mark.once("jax")
def test_more_devices_than_there_are_are_refused_with_their_number() -> None:
    with pytest.raises(ValueError, match="Expected 99 devices. Received: 1, which is"):
        distribution.distribute(99)
    assert distribution.distribute("all") == 1
