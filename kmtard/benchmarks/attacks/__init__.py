"""Compare our attacks with those of other packages on the same weights.

`kmtard benchmark --attacks` first trains small robust networks (`network`). Then each
attack runs in our process (`ours`) and in one process per installed package (`theirs`).
They work in turns, never at once, and each on a single thread, because the result is
processor time. Runs of equal attacks differ in their random numbers only, so the robust
accuracies are shown too: fast attacks must not be weak ones. `table` shows the rows.

Our times are those of the first run in a new process, with an empty and with a filled
cache of compiled programs, and of later runs. PyTorch, for the other packages, compiles
nothing.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmtard.benchmarks.against import spread
from kmtard.benchmarks.turns import Worker
from kmtard.training.startup import thread_variables

IMAGES = 256
"""Number of attacked images."""

PACKAGES = {"auto-attack": "autoattack", "torchattacks": "torchattacks"}
"""Name of a package -> its module. The first one is that of AutoAttack's authors."""

ATTACKS = ("autoattack", "apgd-ce", "apgd-t", "fab-t", "fab", "square")
"""AutoAttack's standard version, its attacks alone, and untargeted FAB."""


@dataclass(frozen=True)
class Net:
    """A network to attack.

    Attributes:
        shape: `(height, width, channels)` of an image.
        epsilons: radii of the attacks in L_inf.
        train_epsilon: radius of its adversarial training.
        epochs: duration of its training.
    """

    shape: tuple[int, int, int]
    epsilons: tuple[float, ...]
    train_epsilon: float
    epochs: int


NETS = {
    "digits": Net((8, 8, 1), (0.1, 0.2), train_epsilon=0.1, epochs=15),
    "cifar": Net((32, 32, 3), (16 / 255,), train_epsilon=8 / 255, epochs=4),
}
"""Name -> network; "cifar" has the size of CIFAR's images, which are colored digits."""


@dataclass(frozen=True)
class Rules:
    """How to measure.

    Attributes:
        backend: Keras backend of our side; None for the configured one.
        rounds: number of measurements of each side after its first run.
        batch_size: images per batch.
    """

    backend: str | None = None
    rounds: int = 3
    batch_size: int = IMAGES


def installed() -> list[str]:
    """Return the names in `PACKAGES` that can be imported."""
    return [
        name for name, module in PACKAGES.items() if importlib.util.find_spec(module)
    ]


def rows(
    nets: Iterable[str], attacks: Sequence[str], packages: Sequence[str], rules: Rules
) -> Iterator[dict[str, Any]]:
    """Yield one row per network, radius and attack.

    Args:
        nets: names in `NETS`.
        attacks: names in `ATTACKS`.
        packages: names in `PACKAGES`.
        rules: how to measure.

    Raises:
        RuntimeError: a process ended, for example because a package is too old.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name in nets:
            net = NETS[name]
            settings = {
                "shape": net.shape,
                "epsilon": net.train_epsilon,
                "epochs": net.epochs,
                "images": IMAGES,
                "folder": folder,
            }
            with Worker("kmtard.benchmarks.attacks.network", settings, _backend(rules)):
                pass
            for epsilon in net.epsilons:
                for attack in attacks:
                    row = _row(Path(folder), attack, epsilon, packages, rules)
                    yield {"net": name, "shape": net.shape, **row}


def _row(
    folder: Path, attack: str, epsilon: float, packages: Sequence[str], rules: Rules
) -> dict[str, Any]:
    settings = {
        "folder": str(folder),
        "attack": attack,
        "epsilon": epsilon,
        "batch_size": rules.batch_size,
    }
    found: dict[str, dict[str, Any]] = {}
    alone = thread_variables(1)
    with tempfile.TemporaryDirectory() as cache:
        cached = {**_backend(rules), "KMTARD_COMPILATION_CACHE": cache}
        with Worker(f"{__name__}.ours", settings, cached) as ours:
            empty = ours.times("run", 1).cpu
            backend = ours.ready["backend"]
        sides = {"ours": Worker(f"{__name__}.ours", settings, cached)}
        try:
            for package in packages:
                theirs = {**settings, "package": package}
                sides[package] = Worker(f"{__name__}.theirs", theirs, alone)
            for name, worker in sides.items():
                cold = worker.times("run", 1).cpu
                found[name] = {"cold": cold, "robust": worker.answered["robust"]}
            warm: dict[str, list[float]] = {name: [] for name in sides}
            for number in range(rules.rounds):
                order = list(sides)
                for name in order if number % 2 == 0 else reversed(order):
                    warm[name].append(sides[name].times("run", 1).cpu)
        finally:
            for worker in sides.values():
                worker.close()
    for name, times in warm.items():
        found[name]["warm"] = statistics.median(times)
    mine = found.pop("ours")
    for name, theirs in found.items():
        theirs["cold_ratio"] = mine["cold"] / theirs["cold"]
        theirs["ratio"] = spread(warm["ours"], warm[name])
    return {
        "attack": attack,
        "epsilon": epsilon,
        "backend": backend,
        "images": IMAGES,
        "batch_size": rules.batch_size,
        "rounds": rules.rounds,
        "ours": {"empty_cache": empty, **mine},
        "packages": found,
    }


def _backend(rules: Rules) -> dict[str, str]:
    name = rules.backend or os.environ.get("KERAS_BACKEND", "jax")
    return {**thread_variables(1), "KERAS_BACKEND": name}
