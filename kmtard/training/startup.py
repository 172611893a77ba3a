"""Preparations that a command must make before it loads Keras."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from kmtard.recipe import Recipe
from kmtard.runs import EventWriter, Run

BACKENDS = ("jax", "tensorflow", "torch")


def check_backend(backend: str) -> None:
    """Check that kmtard supports a Keras backend.

    Raises:
        ValueError: it does not; the text lists the supported ones.
    """
    if backend not in BACKENDS:
        raise ValueError(
            f"Expected one of the Keras backends {', '.join(BACKENDS)}. Received: "
            f"{backend!r}. Set the environment variable KERAS_BACKEND to one of them."
        )


def choose_backend(backend: str) -> None:
    """Set the backend that Keras uses. Call this before Keras is first imported.

    Raises:
        ValueError: kmtard does not support the backend.
    """
    check_backend(backend)
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow warns about retracing when each network gets its own compiled attack.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


@contextmanager
def silent_native_code() -> Iterator[None]:
    """Discard what native libraries write to stderr while Keras is imported.

    It also keeps Keras from loading TensorFlow later if that is not the backend. A data
    set that needs TensorFlow still loads it.
    """
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
    _keep_keras_from_tensorflow()


def _keep_keras_from_tensorflow() -> None:
    keras = sys.modules.get("keras")
    if keras is None or keras.config.backend() == "tensorflow":
        return
    # On every backend, Keras loads TensorFlow if it is installed, to seed it and to
    # recognize its types while saving. If Keras renames this attribute, it does so
    # again, which costs time but no correctness.
    with suppress(ImportError, AttributeError):
        from keras.src.utils import module_utils

        module_utils.tensorflow._available = False


def begin(recipe: Recipe, run: Run, line: Callable[[str], None]) -> EventWriter:
    """Write that a run starts or goes on; return the writer of its events."""
    events = EventWriter(run.events_path)
    resumed = any(event["event"] == "run_started" for event in run.events().poll())
    events.write("run_started", resumed=resumed, method=recipe.method.name)
    line(f"run: {run.path}  backend: {recipe.runtime.backend}")
    return events
