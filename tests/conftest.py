"""Fixtures and helpers shared by all tests."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kmtard.training.startup import thread_variables

# Keras reads both at its first import, which is after this file.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The tests spend their time compiling. The fusion emitters alone would double it.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false",
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# A GPU would round the inputs of float32 products to TF32, which exceeds the tolerances
# of the tests.
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
# Two test processes share the cores. With more threads than free cores, operations
# become slow, small ones of PyTorch very slow.
for variable, value in thread_variables(1).items():
    os.environ.setdefault(variable, value)

GOLDEN_DIR = Path(
    os.environ.get("KMTARD_GOLDEN_DIR") or Path(__file__).parent / "golden"
)


def pytest_configure(config: pytest.Config) -> None:
    """Share JAX's compilation cache, and keep tests away from the user's files."""
    # pytest-xdist's workers inherit the environment of their controller.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="kmtard-jax-")
        config.add_cleanup(folder.cleanup)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder.name
    # Tests must not read or write the state of the user's launcher.
    state = tempfile.TemporaryDirectory(prefix="kmtard-state-")
    config.add_cleanup(state.cleanup)
    os.environ["XDG_STATE_HOME"] = state.name


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests that do not depend on the backend on one backend only."""
    for item in items:
        quick = item.get_closest_marker("quick")
        if quick and os.environ["KERAS_BACKEND"] not in quick.args:
            item.add_marker(pytest.mark.slow)
        mark = item.get_closest_marker("once")
        if item.get_closest_marker("every_backend"):
            continue
        if mark and mark.args[0] != os.environ["KERAS_BACKEND"]:
            reason = f"runs once, with KERAS_BACKEND={mark.args[0]}"
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish() -> None:
    """Look for garbage less often. The launcher's tests take a sixth less time then."""
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize `golden` with each file that the marker `golden(pattern)` matches."""
    if "golden" not in metafunc.fixturenames:
        return
    (pattern,) = metafunc.definition.get_closest_marker("golden").args
    paths = sorted(GOLDEN_DIR.glob(pattern))
    # The other tests must run even if only the golden files of attacks exist.
    missing = [] if paths else [pytest.param(GOLDEN_DIR / pattern, id="missing")]
    metafunc.parametrize(
        "golden", paths or missing, ids=lambda path: path.stem, indirect=True
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    """The arrays of one golden file."""
    if not request.param.exists():
        pytest.fail(
            f"Expected golden files {request.param}, but found none. "
            "Set KMTARD_GOLDEN_DIR to the folder that contains them."
        )
    with np.load(request.param) as arrays:
        return dict(arrays)


@pytest.fixture(autouse=True)
def fresh_keras() -> None:
    """Start each test from the same Keras state, without importing Keras."""
    if keras := sys.modules.get("keras"):
        keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def same_working_folder() -> Iterator[None]:
    """Fail a test that leaves another working folder to the tests after it."""
    before = os.getcwd()
    yield
    after = os.getcwd()
    os.chdir(before)
    assert after == before, "use monkeypatch.chdir"
