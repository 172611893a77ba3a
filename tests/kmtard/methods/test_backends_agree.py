"""One training, three backends, the same numbers."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import kmtard

BACKENDS = ("jax", "tensorflow", "torch")
TRAIN = """
import sys
import keras
import numpy as np
from keras import ops
from sklearn.datasets import load_digits

from kmtard.attacks import PGD
from kmtard.methods.b_mtard import BMTARD
from kmtard.networks.small_cnn import small_cnn
from kmtard.optimizers import L2SGD

rng = np.random.default_rng(0)
noise = rng.normal(0, 0.001, (8, 8, 1)).astype("float32")


def network(scale):
    made = small_cnn(10, (8, 8, 1), width=4)
    for variable in made.trainable_variables:
        if len(variable.shape) > 1 or variable.path.endswith("bias"):
            spread = scale / np.sqrt(np.prod(variable.shape[:-1]))
            variable.assign(rng.normal(0, spread, variable.shape))
    return made


digits = load_digits()
x = (digits.images[:640, ..., None] / 16).astype("float32")
model = BMTARD(
    network(1.5), network(2.0), network(1.0), attack=PGD(start=lambda x: x + noise)
)
model.compile(L2SGD(0.1, momentum=0.9, weight_decay=2e-4), jit_compile=False)
history = model.fit(
    x,
    digits.target[:640],
    batch_size=32,
    shuffle=False,
    callbacks=model.default_callbacks(),
    verbose=0,
).history
state = ("nat_temperature", "adv_temperature", "nat_weight", "adv_weight")
values = {f"student/{i}": v for i, v in enumerate(model.student.variables)}
values |= {name: getattr(model, name) for name in state}
arrays = {name: ops.convert_to_numpy(v.value) for name, v in values.items()}
np.savez(sys.argv[1], loss=history["loss"], **arrays)
"""


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="once, in TensorFlow's suite"
)
def test_twenty_steps_agree(tmp_path: Path) -> None:
    """B-MTARD's real step on digits; a process for each installed backend.

    It runs in TensorFlow's suite only: it starts the other backends itself. On the
    machine it was written on they differ by 2.4e-7. A gradient so near to zero that two
    backends round it to other signs would move a pixel by 4/255; then it takes another
    seed, not another tolerance.
    """
    installed = [b for b in BACKENDS if importlib.util.find_spec(b)]
    root = str(Path(kmtard.__file__).parents[1])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TRAIN, str(tmp_path / f"{backend}.npz")],
            env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": root},
        )
        for backend in installed
    ]
    assert [process.wait(300) for process in processes] == [0] * len(installed)

    wanted = np.load(tmp_path / "tensorflow.npz")
    assert wanted["nat_temperature"] != 1
    assert wanted["nat_weight"] != 0.5
    for backend in installed:
        received = np.load(tmp_path / f"{backend}.npz")
        for name in wanted.files:
            np.testing.assert_allclose(
                received[name],
                wanted[name],
                rtol=1e-5,
                atol=1e-5,
                err_msg=f"{name}, {backend} against tensorflow",
            )
