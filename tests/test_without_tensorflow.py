"""On JAX and PyTorch only a first reading of TFDS data needs TensorFlow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kmtard.runs import Run, list_runs
from tests.kmtard.conftest import BACKEND, ENDING, RECIPE, ROOT

# Which of the two other backends computes makes no difference to the imports.
pytestmark = pytest.mark.once("jax")

# Every child runs this first. An import of TensorFlow fails like that of a missing
# package, and is reported, because the package would be loaded if it is installed.
BLOCK = """
import builtins, importlib, sys

BLOCKED = ("tensorflow", "tensorflow_datasets")
for name in BLOCKED:
    sys.modules[name] = None

def telling(load):
    def told(name, *arguments, **kwargs):
        if name.partition(".")[0] in BLOCKED:
            sys.stderr.write(f"{name} was asked for\\n")
        return load(name, *arguments, **kwargs)
    return told

builtins.__import__ = telling(builtins.__import__)
importlib.import_module = telling(importlib.import_module)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, images, and the module that Python loads first."""
    folder = tmp_path_factory.mktemp("without")
    (folder / "sitecustomize.py").write_text(BLOCK)
    rng = np.random.default_rng(0)
    arrays = {
        f"{kind}_{part}": values
        for part, count in (("train", 48), ("test", 16))
        for kind, values in (
            ("x", rng.integers(0, 256, (count, 8, 8, 1), np.uint8)),
            ("y", np.arange(count) % 4),
        )
    }
    np.savez(folder / "mine.npz", **arrays)
    runtime = {
        "backend": f'"{BACKEND}"',
        "jit": '"auto"' if BACKEND == "jax" else "false",
        "runs_dir": f'"{folder / "runs"}"',
        "cache_dir": f'"{folder / "teachers"}"',
    }
    lines = [f"{key} = {value}" for key, value in runtime.items()]
    (folder / "tiny.toml").write_text("\n".join([RECIPE, "[runtime]", *lines, ""]))
    return folder


def child(folder: Path, *arguments: str | Path) -> str:
    """Run Python without TensorFlow; return what it printed."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": path, "KERAS_BACKEND": BACKEND},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    """A training on the user's own arrays, stopped in mid-epoch and resumed."""
    sets = {
        "method.name": '"natural"',
        "data.name": '"npz"',
        "data.directory": f'"{folder / "mine.npz"}"',
        "schedule": "{ epochs = 2, milestones = [] }",
    }
    arguments = [f"--set={key}={value}" for key, value in sets.items()]
    told = child(
        folder, "-c", ENDING, "student:2:SIGTERM", folder / "tiny.toml", *arguments
    )
    assert "stopped" in told
    [run] = list_runs(folder / "runs")
    child(folder, "-m", "kmtard.fit", "--resume", run.path)
    assert run.state() == "finished"
    return run


def test_the_import_is_blocked(folder: Path) -> None:
    code = """
import contextlib, importlib.util, io
assert importlib.util.find_spec("tensorflow") is None
with contextlib.redirect_stderr(io.StringIO()) as told:
    for load in (__import__, importlib.import_module):
        try:
            load("tensorflow.io")
        except ModuleNotFoundError:
            print(told.getvalue())
"""
    assert child(folder, "-c", code).count("tensorflow.io was asked for") == 3


def test_evaluate_and_report(run: Run, folder: Path) -> None:
    options = ["--attacks=fgsm", "--limit=8", "--batch-size=8"]
    told = child(folder, "-m", "kmtard.evaluate", run.path, *options)
    assert "fgsm" in told
    assert "natural" in child(folder, "-m", "kmtard.report", run.path)


def test_benchmark(folder: Path) -> None:
    options = ["--net=data", "--repeats=1", "--steps=2", "--batch-size=4", "--json=-"]
    [result] = json.loads(child(folder, "-m", "kmtard.benchmark", *options))
    assert result["backend"] == BACKEND and result["images_per_second"] > 0
