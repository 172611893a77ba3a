"""Fixtures and helpers shared by all tests."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

# Both are read when Keras is first imported, which the tests do after this file.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The tests compile much and compute little; the fusion emitters alone double the time.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false",
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# A GPU would round the inputs of float32 products to TF32; the tests' tolerances do not
# allow for that.
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
# Threads that outnumber free cores make PyTorch's tiny operations crawl.
os.environ.setdefault("OMP_NUM_THREADS", "1")

GOLDEN_DIR = Path(
    os.environ.get("KMTARD_GOLDEN_DIR") or Path(__file__).parent / "golden"
)


def pytest_configure(config: pytest.Config) -> None:
    """Share what is compiled for JAX, and keep the user's own files out."""
    # The workers have their controller's environment.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="kmtard-jax-")
        config.add_cleanup(folder.cleanup)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder.name
    # No test reads or writes what the user's own launcher remembers.
    state = tempfile.TemporaryDirectory(prefix="kmtard-state-")
    config.add_cleanup(state.cleanup)
    os.environ["XDG_STATE_HOME"] = state.name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests that do not depend on the backend on one backend only."""
    for item in items:
        mark = item.get_closest_marker("once")
        if item.get_closest_marker("every_backend"):
            continue
        if mark and mark.args[0] != os.environ["KERAS_BACKEND"]:
            reason = f"runs once, with KERAS_BACKEND={mark.args[0]}"
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give `golden` every file that the test's marker `golden(pattern)` matches."""
    if "golden" not in metafunc.fixturenames:
        return
    (pattern,) = metafunc.definition.get_closest_marker("golden").args
    paths = sorted(GOLDEN_DIR.glob(pattern))
    # A set of attacks alone must not keep those tests from running.
    missing = [] if paths else [pytest.param(GOLDEN_DIR / pattern, id="missing")]
    metafunc.parametrize(
        "golden", paths or missing, ids=lambda path: path.stem, indirect=True
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    """The arrays of one golden file."""
    if not request.param.exists():
        pytest.fail(
            f"expected golden files {request.param}, found none; "
            "set KMTARD_GOLDEN_DIR to the folder that holds them"
        )
    with np.load(request.param) as arrays:
        return dict(arrays)


@pytest.fixture(autouse=True)
def fresh_keras() -> None:
    """Start each test from the same Keras state, without importing Keras."""
    if keras := sys.modules.get("keras"):
        keras.utils.set_random_seed(0)
