"""What a command prepares before it loads Keras."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kmtard.training import startup
from kmtard.training.startup import choose_backend, keep_compiled_programs

pytestmark = pytest.mark.once("torch")


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has set nothing, and the folder of the user's cache."""
    for name in (
        "JAX_COMPILATION_CACHE_DIR",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES",
        "KMTARD_COMPILATION_CACHE",
    ):
        # So that what the test sets is undone, too.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("KERAS_BACKEND", os.environ["KERAS_BACKEND"])
    monkeypatch.setattr(startup, "cache_dir", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def folder() -> Path:
    return Path(os.environ["JAX_COMPILATION_CACHE_DIR"])


def test_jax_keeps_programs_for_this_machine_and_user(environment: Path) -> None:
    choose_backend("jax")
    assert folder().parent == environment / "compiled"
    assert folder().name.startswith("jaxlib-")
    assert stat.S_IMODE(folder().stat().st_mode) == 0o700
    assert os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] == "0"
    before = folder()
    del os.environ["JAX_COMPILATION_CACHE_DIR"]
    choose_backend("jax")
    assert folder() == before


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_other_backends_keep_nothing(backend: str, environment: Path) -> None:
    choose_backend(backend)
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    assert not environment.exists()


def test_the_number_of_threads_reaches_the_backend() -> None:
    choose = "from kmtard.training.startup import choose_backend as choose"
    code = f"{choose}; choose('torch', 1); import torch; print(torch.get_num_threads())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said.stdout.split() == ["1"], said.stderr


def test_without_a_number_the_environment_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    choose_backend("torch")
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_another_processor_has_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_compiled_programs()
    first = folder()
    del os.environ["JAX_COMPILATION_CACHE_DIR"]
    monkeypatch.setattr("platform.machine", lambda: "another")
    keep_compiled_programs()
    assert folder() != first


def test_it_can_be_switched_off_or_moved(
    tmp_path: Path, environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KMTARD_COMPILATION_CACHE", "off")
    keep_compiled_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    monkeypatch.setenv("KMTARD_COMPILATION_CACHE", str(tmp_path / "mine"))
    keep_compiled_programs()
    assert folder().parent == tmp_path / "mine"
    assert not environment.exists()


def test_the_folder_that_the_user_gave_to_jax_is_left_alone(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/elsewhere")
    keep_compiled_programs()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "/elsewhere"
    assert not environment.exists()


def test_without_a_writable_folder_everything_is_compiled(environment: Path) -> None:
    environment.write_text("a file where the folder should be")
    keep_compiled_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


def test_unused_programs_are_removed() -> None:
    keep_compiled_programs()
    old, new = folder() / "old-cache", folder() / "new-cache"
    for path in (old, new):
        path.write_bytes(b"program")
    month_ago = time.time() - 31 * 86400
    os.utime(old, (month_ago, month_ago))
    del os.environ["JAX_COMPILATION_CACHE_DIR"]
    keep_compiled_programs()
    assert not old.exists() and new.exists()


FAULTS = """
import resource, sys, threading
import numpy as np
from kmtard.training.startup import keep_freed_memory

if "keep" in sys.argv:
    keep_freed_memory()

def fill(mebibytes):
    np.empty(mebibytes << 18, "float32").fill(1)

def faults():
    for _ in range(5):
        fill(16), fill(100)
    began = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        fill(16), fill(100)
    counted.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - began)

counted = []
faults()
thread = threading.Thread(target=faults)
thread.start()
thread.join()
print(*counted)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="for glibc")
def test_freed_memory_is_kept_in_every_thread() -> None:
    """The system clears no page anew for arrays of the same size."""

    def faults(*words: str, **environment: str) -> list[int]:
        # Huge pages would make the numbers depend on the state of the machine.
        environment = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0", **environment}
        command = [sys.executable, "-c", FAULTS, *words]
        output = subprocess.check_output(command, text=True, env=environment)
        return [int(word) for word in output.split()]

    assert max(faults("keep")) < 1000
    assert min(faults()) > 10_000
    assert min(faults("keep", MALLOC_ARENA_MAX="2")) > 10_000, "the user's settings"


def test_older_glibc_gets_the_largest_threshold_that_it_accepts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise, it would map every array above 128 KiB anew."""
    accepted = {}

    class OldLibrary:
        @staticmethod
        def mallopt(option: int, value: int) -> int:
            if option == startup.M_MMAP_THRESHOLD and value > 2**25:
                return 0
            accepted[option] = value
            return 1

    for name in startup.CHOSEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(startup.sys, "platform", "linux")
    monkeypatch.setattr(startup.ctypes, "CDLL", lambda name: OldLibrary)
    startup.keep_freed_memory()
    assert accepted[startup.M_MMAP_THRESHOLD] == 2**25
    assert accepted[startup.M_TRIM_THRESHOLD] == 2**31 - 1
