"""Preparations that a command must make before it loads Keras."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kmtard.recipe import Recipe
from kmtard.runs import EventWriter, Run
from kmtard.runs.places import cache_dir

BACKENDS = ("jax", "tensorflow", "torch")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Numbers of the options of `mallopt`, from glibc's malloc.h."""

KEPT_BYTES = 2**31 - 1
"""Up to this size, freed memory is kept for the next step; `mallopt`'s largest number.
"""

CHOSEN = (
    "GLIBC_TUNABLES",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_ARENA_MAX",
)
"""The variables in which a user chooses other settings."""

MAPPED_BYTES = 2**25
"""The largest threshold that older versions of glibc accept."""

UNUSED_DAYS = 30
"""Compiled programs that were not used for so long are removed."""


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


def choose_backend(backend: str, threads: int | None = None) -> None:
    """Set the backend that Keras uses. Call this before Keras is first imported.

    Args:
        backend: name of the backend.
        threads: number of threads that compute on a CPU; None to leave the
            environment as it is.

    Raises:
        ValueError: kmtard does not support the backend.
    """
    check_backend(backend)
    os.environ["KERAS_BACKEND"] = backend
    if threads is not None:
        os.environ.update(thread_variables(threads))
    keep_freed_memory()
    if backend == "jax":
        keep_compiled_programs()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow warns about retracing when each network gets its own compiled attack.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def thread_variables(threads: int) -> dict[str, str]:
    """Return the environment variables that set the number of threads on a CPU.

    They must be set before the libraries are imported.
    """
    names = (
        "NPROC",  # JAX
        *("OMP_NUM_THREADS", "MKL_NUM_THREADS"),  # PyTorch
        *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),  # TensorFlow
    )
    return dict.fromkeys(names, str(threads))


def keep_freed_memory() -> None:
    """Let the C library keep freed memory, instead of returning it to the system.

    Each step and each pass of a network frees its large arrays. By default glibc
    returns such memory at once, and the system has to clear it again, page by page, for
    the next step. On a CPU, a forward pass of 256 32x32x3 images took up to three times
    as long. Nothing happens without glibc, or if the user has chosen other settings.
    """
    if not sys.platform.startswith("linux") or any(map(os.environ.get, CHOSEN)):
        return
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        # Without this threshold, the next option would fix a much smaller one.
        if not mallopt(M_MMAP_THRESHOLD, KEPT_BYTES):
            mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        # Memory of further arenas, those of threads, is returned above 64 MiB.
        mallopt(M_ARENA_MAX, 1)


def keep_compiled_programs() -> None:
    """Let JAX keep compiled programs in the user's cache, for the next run.

    A smoke run of the digits needs 38 s of processor time without them, and 13 s with
    them. `KMTARD_COMPILATION_CACHE` names another folder, or is `off`. A folder that
    the user has given to JAX itself is left alone. Programs that were not used for 30
    days are removed.
    """
    wanted = os.environ.get("KMTARD_COMPILATION_CACHE", "")
    if wanted == "off" or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    # A program for one processor may crash on another that shares the home folder.
    folder = Path(wanted) if wanted else cache_dir() / "compiled"
    folder /= _machine()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_unused(folder)
    except OSError:
        return  # Without the cache, everything is compiled.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    # JAX would keep only what took a second to compile.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def _machine() -> str:
    """Return a name for this kind of processor and this version of JAX."""
    features = ""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        features = next((each for each in lines if each.startswith("flags")), "")
    try:
        jax = version("jaxlib")
    except PackageNotFoundError:
        jax = "none"
    text = f"{platform.machine()} {features}"
    return f"jaxlib-{jax}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _remove_unused(folder: Path) -> None:
    oldest = time.time() - UNUSED_DAYS * 86400
    for path in folder.iterdir():
        # Another process may remove it first.
        with suppress(FileNotFoundError):
            used = path.stat()
            if max(used.st_atime, used.st_mtime) < oldest:
                path.unlink()


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
    """Write that a run starts or continues; return the writer of its events."""
    events = EventWriter(run.events_path)
    resumed = any(event["event"] == "run_started" for event in run.events().poll())
    events.write("run_started", resumed=resumed, method=recipe.method.name)
    line(f"run: {run.path}  backend: {recipe.runtime.backend}")
    return events
