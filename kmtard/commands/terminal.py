"""What the commands do before they load Keras."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager


def choose_backend(backend: str) -> None:
    """Fix Keras' backend, which it reads once, when it is first imported."""
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # It takes the attacks, compiled once for each network, for one traced again.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


@contextmanager
def silent_native_code() -> Iterator[None]:
    """Drop what TensorFlow's libraries write to stderr while they are loaded."""
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
