"""Measure AutoAttack on images that cannot be fooled, so that no attack stops early."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from kmtard.attacks.apgd import APGD
from kmtard.attacks.autoattack import members
from kmtard.attacks.base import Attack
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.fab import FAB
from kmtard.attacks.square import Square
from kmtard.benchmarks.device_report.scale import Scale, networks
from kmtard.benchmarks.workload import random_batch

EPSILON = 0.0
"""With this radius no image can be fooled, so all are attacked until the end."""


def rows(scale: Scale) -> Iterator[dict[str, Any]]:
    """Yield the images per second of each attack, then of all attacks together.

    Each attack runs twice. The first run includes compilation and is not counted.
    """
    network = networks(scale, scale.cases[-1])[0]
    images, _ = random_batch(scale.shape, scale.attacked)
    classifier = Classifier.of(network, images[:1])
    labels = classifier.predict(images)
    total = 0.0
    for name, attack in _attacks(scale.miniature).items():
        times = []
        for _ in range(2):
            began = time.perf_counter()
            attack.run(classifier, images, labels, batch_size=scale.attacked)
            times.append(time.perf_counter() - began)
        total += times[1]
        yield _row(scale, name, times[1], times[0])
    yield _row(scale, "autoattack", total)


def _row(
    scale: Scale, name: str, seconds: float, first: float | None = None
) -> dict[str, Any]:
    return {
        "case": name,
        "student": scale.cases[-1].student,
        "images": scale.attacked,
        "images_per_second": scale.attacked / seconds,
        "first_seconds": first,
    }


def _attacks(miniature: bool) -> dict[str, Attack]:
    if not miniature:
        return members(EPSILON)
    return {
        "apgd-ce": APGD(EPSILON, steps=2),
        "apgd-t": APGD(EPSILON, steps=2, loss="dlr", targets=1),
        "fab-t": FAB(EPSILON, steps=2, targets=1),
        "square": Square(EPSILON, queries=3),
    }
