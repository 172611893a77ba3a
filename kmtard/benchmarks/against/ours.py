"""Time our step or attack in a separate process: `python -m ...ours SETTINGS`.

The settings and the protocol are those of `kmtard.benchmarks.rivals`, with the kind
"ours". The first answer also names the Keras backend.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from kmtard.benchmarks.timing import keras_on


def main(settings: dict[str, Any]) -> int:
    """Answer until stdin ends; return the exit code."""
    # Libraries print to stdout too, which must not mix with the answers.
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(**message: Any) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    keras = keras_on(None)
    from kmtard import backend

    run = _step(settings) if settings["work"] == "step" else _attack(settings)
    answer(device=backend.devices()[0], backend=keras.backend.backend())
    for line in sys.stdin:
        _, count = json.loads(line)
        began, began_cpu = time.perf_counter(), time.process_time()
        run(count)
        answer(
            seconds=(time.perf_counter() - began) / count,
            cpu_seconds=(time.process_time() - began_cpu) / count,
        )
    return 0


def _step(settings: dict[str, Any]) -> Callable[[int], None]:
    from kmtard.benchmarks.workload import distiller, random_batch, stepper

    model, callbacks = distiller(
        [_network(settings) for _ in range(3)], pgd_steps=settings["pgd_steps"]
    )
    batch = random_batch(tuple(settings["shape"]), settings["batch_size"])
    return stepper(model, callbacks, batch)


def _attack(settings: dict[str, Any]) -> Callable[[int], None]:
    from kmtard import attacks
    from kmtard.attacks.base import Attack
    from kmtard.attacks.classifier import Classifier
    from kmtard.benchmarks.workload import random_batch

    size = settings["batch_size"]
    images, _ = random_batch(tuple(settings["shape"]), size)
    classifier = Classifier.of(_network(settings), images[:1])
    # No image is misclassified without an attack, so that all are attacked.
    labels = classifier.predict(images)
    steps, epsilon = settings["steps"], settings["epsilon"]
    attack: Attack = attacks.APGD(epsilon, steps=steps)
    if settings["work"] == "pgd":
        attack = attacks.PGD(
            epsilon, steps=steps, step_size=settings["step_size"], start="uniform"
        )

    def run(count: int) -> None:
        for _ in range(count):
            attack.run(classifier, images, labels, batch_size=size)

    return run


def _network(settings: dict[str, Any]) -> Any:
    from kmtard import registry
    from kmtard.benchmarks.workload import CLASSES

    make = registry.resolve("networks", settings["network"])
    return make(CLASSES, tuple(settings["shape"]))


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
