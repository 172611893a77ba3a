"""Backends of Keras that kmtard does not have."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.once("torch")


def ended(backend: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python on a backend."""
    path = os.pathsep.join(sys.path)
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=environment
    )


@pytest.mark.parametrize("backend", ["numpy", "openvino", "none"])
@pytest.mark.parametrize("room", ["attacks", "methods"])
def test_the_rooms_say_which_backends_there_are(backend: str, room: str) -> None:
    last = ended(backend, "-c", f"import kmtard.{room}").stderr.splitlines()[-1]
    expected = "ImportError: kmtard supports the Keras backends jax, tensorflow, torch."
    assert last.startswith(f"{expected} Received: {backend!r}. Set")
    assert "KERAS_BACKEND" in last


def test_a_backend_that_keras_has_already_loaded_is_refused() -> None:
    code = "import os, keras; del os.environ['KERAS_BACKEND']; import kmtard.attacks"
    done = ended("numpy", "-c", code)
    assert "ImportError: kmtard supports" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("evaluate", "net.keras", "--data", "digits"), 2),
        (("benchmark", "--net", "digits"), 2),
        (("convert", "in.pt", "out.keras", "--network", "resnet18"), 1),
    ],
)
def test_commands_say_so_in_one_line(words: tuple[str, ...], code: int) -> None:
    done = ended(
        "openvino",
        "-c",
        "import sys, kmtard.commands.main as m; sys.exit(m.main())",
        *words,
    )
    found = " ".join(done.stderr.split())
    assert "Expected one of the Keras backends jax, tensorflow, torch." in found
    assert "Received: 'openvino'. Set the environment variable KERAS_BACKEND" in found
    assert "Traceback" not in found
    assert done.returncode == code
