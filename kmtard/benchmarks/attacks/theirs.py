"""Time an attack of another package in a separate process: `python -m ... SETTINGS`.

The settings are those of `ours`, and the name of the `package` in `attacks.PACKAGES`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kmtard.benchmarks.attacks.answers import answer_runs, one_processor
from kmtard.benchmarks.rivals.networks import SmallCNN

CLASSES, STEPS, QUERIES = 10, 100, 5000


def main(settings: dict[str, Any]) -> int:
    """Answer until stdin ends; return the exit code."""
    one_processor()
    torch.set_num_threads(1)
    folder = Path(settings["folder"])
    with np.load(folder / "images.npz") as arrays:
        images, labels = arrays["x"], torch.tensor(arrays["y"]).long()
    x = torch.tensor(images.transpose(0, 3, 1, 2)).contiguous()
    network = SmallCNN(CLASSES, images.shape[1:])
    with np.load(folder / "torch.npz") as arrays:
        state = {name: torch.tensor(arrays[name]) for name in arrays}
    network.load_state_dict(state, strict=False)
    network.eval().requires_grad_(False)
    make = {"auto-attack": _auto_attack, "torchattacks": _torchattacks}
    attack = make[settings["package"]](network, settings)

    def run() -> float:
        found = attack(x, labels)
        with torch.no_grad():
            correct = (network(x).argmax(1) == labels) & (
                network(found).argmax(1) == labels
            )
        return float(correct.float().mean())

    return answer_runs(run, package=settings["package"])


Run = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _auto_attack(network: torch.nn.Module, settings: dict[str, Any]) -> Run:
    from autoattack import AutoAttack

    name, everything = settings["attack"], settings["attack"] == "autoattack"
    attack = AutoAttack(
        network,
        norm="Linf",
        eps=settings["epsilon"],
        seed=0,
        version="standard" if everything else "custom",
        attacks_to_run=[] if everything else [name],
        device="cpu",
        verbose=False,
    )
    if not everything:
        # As in the standard version.
        attack.apgd.n_restarts = attack.fab.n_restarts = 1
        attack.apgd_targeted.n_restarts = 1
        attack.fab.n_target_classes = attack.apgd_targeted.n_target_classes = 9
        attack.square.n_queries = QUERIES
    size = settings["batch_size"]
    return lambda x, y: attack.run_standard_evaluation(x, y, bs=size)


def _torchattacks(network: torch.nn.Module, settings: dict[str, Any]) -> Run:
    import torchattacks

    epsilon = settings["epsilon"]
    common = {"eps": epsilon, "seed": 0}

    def sequence() -> Any:
        attack = torchattacks.AutoAttack(network, n_classes=CLASSES, **common)
        for member in attack._autoattack.attacks:
            # Its defaults are not those of AutoAttack's authors, but 10 steps and a
            # rescaled schedule. Every attack ignores the attribute of the others.
            member.steps, member.rescale_schedule = STEPS, False
        return attack

    makers: dict[str, Callable[[], Any]] = {
        "autoattack": sequence,
        "apgd-ce": lambda: torchattacks.APGD(network, steps=STEPS, **common),
        "apgd-t": lambda: torchattacks.APGDT(
            network, steps=STEPS, n_classes=CLASSES, **common
        ),
        "fab-t": lambda: torchattacks.FAB(
            network, steps=STEPS, n_classes=CLASSES, multi_targeted=True, **common
        ),
        "fab": lambda: torchattacks.FAB(
            network, steps=STEPS, n_classes=CLASSES, **common
        ),
        "square": lambda: torchattacks.Square(
            network, n_queries=QUERIES, resc_schedule=False, **common
        ),
    }
    attack = makers[settings["attack"]]()
    size = settings["batch_size"]

    def run(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        parts = zip(x.split(size), y.split(size), strict=True)
        return torch.cat([attack(images, labels) for images, labels in parts])

    return run


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
