"""A process with Keras loaded that forks a child for each run of the tests.

Loading Keras takes longer than such a run. Nothing is computed before the fork: JAX
starts in the child, which can be killed like any other process.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

RECIPE = """
[data]
name = "digits"
batch_size = 16
limit = 48
pad = 1

[student]
network = "dense:dense"

[adv_teacher]
network = "dense:dense"
train = true

[adv_teacher.method]
name = "natural"
schedule = { epochs = 2, milestones = [] }

[method]
name = "ard"

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
attacks = ["fgsm"]
step_size = 0.1
steps = 1
limit = 32

[runtime]
backend = "jax"
jit = "auto"
runs_dir = "runs"
cache_dir = "teachers"
"""
"""Two trainings, and an evaluation of two networks on two batches with one step."""

NETWORK = """
import keras
from keras import layers


def dense(num_classes, input_shape):
    return keras.Sequential(
        [
            layers.Input(input_shape),
            layers.Flatten(),
            layers.Dense(8, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(num_classes),
        ]
    )
"""


def prepare(folder: Path) -> None:
    """Write the recipe and the code of its network into a working folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.toml").write_text(RECIPE)
    (folder / "dense.py").write_text(NETWORK)


def load() -> None:
    """Import everything that a run needs, without computing anything."""
    from kmtard.training.startup import choose_backend, silent_native_code

    choose_backend("jax")
    with silent_native_code():
        import sklearn.datasets  # noqa: F401

        import kmtard.evaluation.evaluator  # noqa: F401
        import kmtard.training.estimate  # noqa: F401
        import kmtard.training.experiment  # noqa: F401
        from kmtard import registry

        for method in ("natural", "ard"):
            registry.resolve("methods", method)
    gc.collect()
    gc.freeze()


def serve() -> None:
    """Fork a child for each request (a line of JSON), and print its exit code."""
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(request)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(request: dict[str, Any]) -> None:
    code = 99
    try:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, nothing), (1, log), (2, log)):
            os.dup2(source, target)
        os.chdir(request["cwd"])
        from kmtard.commands import evaluate, fit
        from tests.reliability import faults

        faults.install(request.get("fault"))
        command = {"fit": fit.main, "evaluate": evaluate.main}[request["command"]]
        code = command(request["argv"])
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 98
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    load()
    print("ready", flush=True)
    serve()
