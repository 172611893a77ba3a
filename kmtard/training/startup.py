"""What a command does before it loads Keras."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

BACKENDS = ("jax", "tensorflow", "torch")


def check_backend(backend: str) -> None:
    """Refuse a backend that kmtard does not have.

    Raises:
        ValueError: with those there are.
    """
    if backend not in BACKENDS:
        raise ValueError(
            f"Expected a backend of Keras out of {', '.join(BACKENDS)}. Received: "
            f"{backend!r}. Set the environment variable KERAS_BACKEND to one of them."
        )


def choose_backend(backend: str) -> None:
    """Fix Keras' backend, which it reads once, when it is first imported.

    Raises:
        ValueError: kmtard does not have it.
    """
    check_backend(backend)
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # It takes the attacks, compiled once for each network, for one traced again.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


@contextmanager
def silent_native_code() -> Iterator[None]:
    """Load Keras without a word of the libraries under it.

    Drops what they write to stderr meanwhile. Where TensorFlow is not the backend, it
    is not loaded later either, unless a data set needs it.
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
    # On every backend, Keras loads TensorFlow where it is installed, to seed it and to
    # look for its types while saving. Without this attribute it does so still.
    with suppress(ImportError, AttributeError):
        from keras.src.utils import module_utils

        module_utils.tensorflow._available = False
