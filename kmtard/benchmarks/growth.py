"""Measure how the time grows with the work: of steps, of evaluations and of studies.

Each group changes one quantity. The work of a step or an evaluation is its number of
floating-point operations in convolutions and dense layers (`kmtard.benchmarks.flops`).
That of a study is its number of cells, which `kmtard study --dry-run` plans. A growth
of 1 means that the time grows as the work; below 1, larger work is more efficient.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from kmtard.benchmarks.timing import keras_on, seconds

BATCH_SIZE = 64
IMAGES = 256
ATTACK_STEPS = 20
SHAPE = (8, 8, 1)
LASTING = 0.3
"""Approximate duration of a measurement, in seconds."""

RECIPE = """
data = {name = "digits", batch_size = 64}
student = {network = "small_cnn"}
method = {name = "trades"}
attack = {epsilon = 0.1, step_size = 0.02, steps = 10}
optimizer = {learning_rate = 0.1}
schedule = {epochs = 1}
"""


@dataclass(frozen=True)
class Work:
    """Work of one size.

    Attributes:
        run: does it a number of times, and waits for the device.
        amount: operations or cells.
    """

    run: Callable[[int], None]
    amount: float


def _step(
    make: Callable[[], Any],
    shape: tuple[int, int, int] = SHAPE,
    *,
    batch_size: int = BATCH_SIZE,
    pgd_steps: int = 10,
) -> Work:
    from kmtard.benchmarks.flops import step_flops
    from kmtard.benchmarks.workload import distiller, random_batch, stepper

    networks = [make() for _ in range(3)]
    flops = batch_size * step_flops(*networks, pgd_steps=pgd_steps)
    model, callbacks = distiller(networks, pgd_steps=pgd_steps)
    return Work(stepper(model, callbacks, random_batch(shape, batch_size)), flops)


def _small(classes: int = 10, width: int = 16) -> Callable[[], Any]:
    from kmtard.networks.small_cnn import small_cnn

    return lambda: small_cnn(classes, SHAPE, width=width)


def _batch(size: int) -> Work:
    return _step(_small(), batch_size=size)


def _classes(count: int) -> Work:
    return _step(_small(classes=count))


def _pgd_steps(count: int) -> Work:
    return _step(_small(), pgd_steps=count)


def _width(width: int) -> Work:
    return _step(_small(width=width))


def _depth(depth: int) -> Work:
    from kmtard.networks.wide_resnet import trades_wide_resnet

    shape = (16, 16, 3)
    return _step(
        lambda: trades_wide_resnet(10, shape, depth=depth, width=1),
        shape,
        batch_size=16,
    )


def _images(count: int) -> Work:
    from kmtard import attacks
    from kmtard.benchmarks.flops import forward_flops
    from kmtard.benchmarks.workload import random_batch
    from kmtard.evaluation.evaluator import evaluate

    network = _small()()
    images, _ = random_batch(SHAPE, count)
    # No image is misclassified without an attack, so that all are attacked.
    labels = network.predict(images, verbose=0).argmax(-1)
    attack = attacks.PGD(0.1, steps=ATTACK_STEPS, step_size=0.01)

    def run(times: int) -> None:
        for _ in range(times):
            evaluate(network, (images, labels), attacks={"pgd": attack})

    # The clean logits, and a forward and a backward pass for each gradient.
    return Work(run, count * (1 + 2 * ATTACK_STEPS) * forward_flops(network))


def _cells(count: int) -> Work:
    command = [sys.executable, "-m", "kmtard", "study", "recipe.toml", "--dry-run"]

    def run(times: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "recipe.toml").write_text(RECIPE)
            for _ in range(times):
                subprocess.run(
                    [*command, "--seeds", f"0-{count - 1}"],
                    cwd=folder,
                    check=True,
                    stdout=subprocess.DEVNULL,
                )

    return Work(run, count)


GROUPS: dict[str, tuple[Callable[[int], Work], tuple[int, ...]]] = {
    "images in a batch": (_batch, (16, 64, 256, 1024)),
    "classes": (_classes, (10, 100, 1000)),
    "steps of the attack": (_pgd_steps, (5, 10, 20, 40)),
    "width of the student": (_width, (8, 16, 32, 64)),
    "depth of the student": (_depth, (10, 16, 22, 28)),
    "images in an evaluation": (_images, (256, 1024, 4096)),
    "planned cells of a study": (_cells, (10, 100, 1000)),
}
"""What changes -> the work for one size, and the sizes."""


def mistake(arguments: argparse.Namespace) -> str:
    """Return what is wrong with the options of `kmtard benchmark`; empty if nothing."""
    fixed = {"net": "all", "batch_size": None, "unroll": "auto", "jit": "auto"}
    for name, default in fixed.items():
        if (given := getattr(arguments, name)) != default:
            option = f"--{name.replace('_', '-')}"
            return (
                f"--growth measures fixed networks and sizes. Received: {option} "
                f"{given}. Leave {option} out."
            )
    return ""


def rows(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure all groups, and yield one row per size.

    Args:
        arguments: the options of `kmtard benchmark`.

    Returns:
        Rows with `group`, `size`, `seconds` (median), `amount`, and `growth`: the
        increase of the time over that of the work, from the size before. The first
        size of a group has the growth None.
    """
    keras = keras_on(arguments.backend)
    for group, (work_of, sizes) in GROUPS.items():
        before: dict[str, Any] | None = None
        for size in sizes:
            work = work_of(size)
            work.run(1)  # compiles
            count = arguments.steps or max(1, round(LASTING / seconds(work.run, 1)))
            times = [seconds(work.run, count) for _ in range(arguments.repeats)]
            row = {
                "net": "growth",
                "backend": keras.backend.backend(),
                "group": group,
                "size": size,
                "seconds": statistics.median(times),
                "amount": work.amount,
                "growth": None,
            }
            if before is not None:
                row["growth"] = growth(before, row)
            before = row
            yield row


def growth(before: dict[str, Any], after: dict[str, Any]) -> float:
    """Return the increase of the time, divided by that of the work.

    Example:
        >>> before = {"seconds": 1.0, "amount": 10.0}
        >>> growth(before, {"seconds": 3.0, "amount": 20.0})
        1.5
    """
    increase = after["seconds"] / before["seconds"]
    return increase * before["amount"] / after["amount"]


def table(found: list[dict[str, Any]]) -> Table:
    """Return the rows as a table."""
    shown = Table(
        title="Time as the work grows",
        box=None,
        padding=(0, 1, 0, 0),
        caption="Medians. G: billions of operations, or cells of a study. growth: the "
        "increase of the time over that of the work, from the row above; above 1, the "
        "time grows faster than the work.",
    )
    shown.add_column("what grows")
    for name in ("size", "ms", "G", "growth"):
        shown.add_column(name, justify="right")
    group = ""
    for row in found:
        amount, change = row["amount"], row["growth"]
        is_study = row["group"] == "planned cells of a study"
        shown.add_row(
            "" if row["group"] == group else row["group"],
            str(row["size"]),
            f"{1e3 * row['seconds']:.1f}",
            str(amount) if is_study else f"{amount / 1e9:.3g}",
            "" if change is None else f"{change:.2f}",
        )
        group = row["group"]
    return shown
