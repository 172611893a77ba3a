"""The golden nets, their images and what the authors' attacks did to them."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

# Most attacks run for longer than it takes to compile them. JAX reads this at its first
# computation.
os.environ["XLA_FLAGS"] = os.environ["XLA_FLAGS"].replace("level=0", "level=1")

ROOT = Path(__file__).parents[2] / "golden"
FOLDER = Path(os.environ.get("KMTARD_GOLDEN_DIR") or ROOT) / "attacks"


def layer(kind: str, *arguments: Any) -> list[keras.Layer]:
    """Return the layers of one row of `NAME_arch.json`."""
    if kind == "conv":
        name, _, filters, kernel, stride, padding = arguments
        return [layers.Conv2D(filters, kernel, stride, padding, name=name)]
    if kind == "dense":
        name, _, units = arguments
        return [layers.Dense(units, name=name)]
    if "pool" in kind:
        if "global" in kind:
            return [layers.GlobalAveragePooling2D()]
        pool = layers.MaxPooling2D if "max" in kind else layers.AveragePooling2D
        return [pool(*arguments)]
    return [layers.Flatten() if kind == "flatten" else layers.Activation(kind)]


class GoldenNet:
    """One net of one golden set; arrays that are absent are missing keys.

    Attributes:
        prefix: the set's name, as in `PREFIX_arch.json`.
        name: the net's, as in `PREFIX_NAME_model.npz`.
    """

    def __init__(self, prefix: str, name: str) -> None:
        self.prefix, self.name = prefix, name
        self.id = f"{prefix}_{name}"

    @functools.cache  # noqa: B019
    def arrays(self, kind: str) -> dict[str, np.ndarray]:
        """Return `PREFIX_NAME_KIND.npz`: model, adv, det64, details, robust_masks."""
        return _load(f"{self.id}_{kind}.npz")

    @functools.cached_property
    def x(self) -> np.ndarray:
        return _load(f"{self.prefix}_data.npz")["x_test"]

    @functools.cached_property
    def y(self) -> np.ndarray:
        return _load(f"{self.prefix}_data.npz")["y_test"]

    @property
    def results(self) -> dict[str, Any]:
        """The net's part of `PREFIX_results.json`: eps, clean_acc, attacks."""
        return self.all_results[self.name]

    @functools.cached_property
    def all_results(self) -> dict[str, Any]:
        path = FOLDER / f"{self.prefix}_results.json"
        if not path.exists():
            pytest.skip(f"no {path.name}")
        return json.loads(path.read_text())

    @property
    def epsilon(self) -> float:
        return self.results["eps"]

    @functools.cached_property
    def model(self) -> keras.Model:
        """The net in Keras, channels last."""
        rows = json.loads((FOLDER / f"{self.prefix}_arch.json").read_text())
        model = keras.Sequential([layers.Input(self.x.shape[1:])])
        for row in rows:
            for new in layer(*row):
                model.add(new)
        weights = self.arrays("model")
        for part in model.layers:
            if part.weights:
                names = [weight.name for weight in part.weights]
                part.set_weights([weights[f"{part.name}/{name}"] for name in names])
        return model

    def other(self, name: str) -> GoldenNet:
        """Return another net of the same set."""
        return next(
            net for net in NETS if (net.prefix, net.name) == (self.prefix, name)
        )

    def wanted(self, kind: str, name: str) -> np.ndarray:
        """Return an array, or skip the test that asks for one that is absent."""
        arrays = self.arrays(kind)
        if name not in arrays:
            pytest.skip(f"no {name} in {self.id}_{kind}.npz")
        return arrays[name]


def _load(name: str) -> dict[str, np.ndarray]:
    path = FOLDER / name
    if not path.exists():
        return {}
    with np.load(path) as arrays:
        return dict(arrays)


def _nets() -> list[GoldenNet]:
    prefixes = {path.stem.removesuffix("_arch") for path in FOLDER.glob("*_arch.json")}
    nets = []
    for path in sorted(FOLDER.glob("*_model.npz")):
        stem = path.stem.removesuffix("_model")
        owners = [prefix for prefix in prefixes if stem.startswith(f"{prefix}_")]
        if owners:
            prefix = max(owners, key=len)
            nets.append(GoldenNet(prefix, stem.removeprefix(f"{prefix}_")))
    return nets


NETS = _nets()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give `golden_net` every net of every set that is there.

    With TensorFlow, which compiles longest, only the last net of each set is quick.
    """
    if "golden_net" not in metafunc.fixturenames:
        return
    last = {net.prefix: net for net in NETS}.values()
    is_slow = keras.backend.backend() == "tensorflow"
    marks = [pytest.mark.slow] if is_slow else []
    nets = [net if net in last else pytest.param(net, marks=marks) for net in NETS]
    metafunc.parametrize("golden_net", nets, ids=lambda net: net.id)
