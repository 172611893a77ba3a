"""A tiny recipe, and the command that trains it in a process of its own."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import kmtard
from kmtard.runs import Run, list_runs

ROOT = Path(kmtard.__file__).parents[1]
BACKEND = os.environ["KERAS_BACKEND"]
RECIPE = """
[data]
name = "digits"
batch_size = 16
limit = 64
pad = 1

[student]
network = "small_cnn"
options = { width = 2 }

[nat_teacher]
network = "small_cnn"
options = { width = 3 }
train = true

[nat_teacher.method]
name = "natural"
schedule = { epochs = 1, milestones = [] }

[adv_teacher]
network = "small_cnn"
options = { width = 3 }
train = true

[adv_teacher.method]
name = "trades"
schedule = { epochs = 2, milestones = [1] }

[method]
name = "b_mtard"

[attack]
epsilon = 0.1
step_size = 0.1
steps = 1

[optimizer]
learning_rate = 0.1

[schedule]
epochs = 3
milestones = [2]

[evaluation]
attacks = ["pgd_trades"]
step_size = 0.1
steps = 1
limit = 16
"""
# What a child runs to end itself at an exact place: at the COUNTth time that a batch
# of the network LABEL begins, or that the file of this name is copied.
ENDING = """
import os, shutil, signal, sys
from pathlib import Path
from kmtard.training.callbacks import Progress
from kmtard.commands.fit import main

place, count, name = sys.argv[1].split(":")
seen = []

def pass_by(here):
    seen.append(here)
    if here == place and seen.count(here) == int(count):
        os.kill(os.getpid(), signal.Signals[name])

def copyfile(source, target, copy=shutil.copyfile):
    pass_by(Path(source).name)
    copy(source, target)

Progress.on_train_batch_begin = lambda self, batch, logs=None: pass_by(self.label)
shutil.copyfile = copyfile
sys.exit(main(sys.argv[2:]))
"""
# What no file of a run may hold.
SECRET = {"KMTARD_TEST_TOKEN": "hunter2-in-the-environment"}
Fit = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """B-MTARD on 64 digits, four steps an epoch; teachers are trained first.

    The workers of a session have one file and folder of it.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder /= "recipe"
    folder.mkdir(exist_ok=True)
    # Without XLA, JAX would not compile at all; TensorFlow compiles quicker so.
    runtime = {
        "backend": f'"{BACKEND}"',
        "jit": '"auto"' if BACKEND == "jax" else "false",
        "runs_dir": f'"{folder / "runs"}"',
        "cache_dir": f'"{folder / "teachers"}"',
    }
    lines = [f"{key} = {value}" for key, value in runtime.items()]
    path = folder / "tiny.toml"
    written = tmp_path_factory.mktemp("recipe") / path.name
    written.write_text("\n".join([RECIPE, "[runtime]", *lines, ""]))
    written.replace(path)
    return path


@pytest.fixture(scope="session")
def fit() -> Fit:
    """`fit(*arguments, ending="PLACE:COUNT:SIGNAL")`, in a process of its own."""

    def run(
        *arguments: str | Path, ending: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = ["-m", "kmtard.fit"] if ending is None else ["-c", ENDING, ending]
        return subprocess.run(
            [sys.executable, *command, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "PYTHONPATH": str(ROOT), **SECRET},
        )

    return run


@pytest.fixture(scope="session")
def finished(recipe: Path, fit: Fit) -> tuple[subprocess.CompletedProcess[str], Run]:
    """The recipe's run, which nothing broke, and what its process said.

    The first worker that asks makes it for all. Tests change copies of it only.
    """
    said = recipe.parent / "said.json"
    with open(recipe.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if said.exists():
            process = subprocess.CompletedProcess(**json.loads(said.read_text()))
        else:
            process = fit(recipe)
            said.write_text(json.dumps(vars(process)))
    assert process.returncode == 0, process.stdout + process.stderr
    [run] = list_runs(recipe.parent / "runs")
    return process, run
