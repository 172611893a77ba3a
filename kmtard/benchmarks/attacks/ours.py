"""Time one of our attacks in a separate process: `python -m ...ours SETTINGS`.

The settings are the `folder` that `network` wrote, `attack`, `epsilon` and
`batch_size`. Each line `["run", COUNT]` on stdin is answered with the seconds and the
processor seconds of one run, and the robust accuracy.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from kmtard.benchmarks.attacks.answers import answer_runs, one_processor
from kmtard.benchmarks.timing import keras_on
from kmtard.training.startup import choose_backend


def main(settings: dict[str, Any]) -> int:
    """Answer until stdin ends; return the exit code."""
    one_processor()
    keras = keras_on(None)
    from kmtard.attacks import FAB, AutoAttack
    from kmtard.attacks.autoattack import members
    from kmtard.attacks.base import Attack
    from kmtard.attacks.classifier import Classifier

    folder, epsilon = Path(settings["folder"]), settings["epsilon"]
    attacks: dict[str, Attack] = {
        **members(epsilon),
        "autoattack": AutoAttack(epsilon),
        "fab": FAB(epsilon, targeted=False),
    }
    attack = attacks[settings["attack"]]
    classifier = Classifier.of(keras.models.load_model(folder / "network.keras"))
    with np.load(folder / "images.npz") as arrays:
        x, y = arrays["x"], arrays["y"]

    def run() -> float:
        result = attack.run(classifier, x, y, batch_size=settings["batch_size"])
        return 1 - float(result.success.mean())

    return answer_runs(run, backend=keras.backend.backend())


if __name__ == "__main__":
    import os

    choose_backend(os.environ["KERAS_BACKEND"])
    sys.exit(main(json.loads(sys.argv[1])))
