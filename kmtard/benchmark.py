"""Time one B-MTARD step against the passes it cannot do without, and its images.

`python -m kmtard.benchmark [--net digits] [--backend jax] [--json FILE]`
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from kmtard.training.startup import silent_native_code


@dataclass(frozen=True)
class Setting:
    """What is timed: three networks of one kind, and how many steps at a time."""

    network: str
    shape: tuple[int, int, int]
    batch_size: int
    steps: int


NETS = {
    "digits": Setting("small_cnn", (8, 8, 1), batch_size=64, steps=200),
    "cifar": Setting("resnet18", (32, 32, 3), batch_size=32, steps=1),
}
DATA = "data"
"""Names the pipeline that makes batches of training images."""
IMAGES, IMAGE_SHAPE, IMAGE_BATCH = 50_000, (32, 32, 3), 128
PGD_STEPS = 10
CLASSES = 10


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = _parser().parse_args(argv)
    if arguments.net == "all":
        results = [_in_own_process(arguments, net) for net in (*NETS, DATA)]
        *steps, data = results
        for step in steps:
            rates = step["images_per_second"], data["images_per_second"]
            step["data_share"] = rates[0] / rates[1]
    else:
        results = [(measure_data if arguments.net == DATA else measure)(arguments)]
    if arguments.json == "-":
        sys.stdout.write(json.dumps(results) + "\n")
        return 0
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=2) + "\n")
    Console().print(_table(results))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kmtard.benchmark", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--net", choices=[*NETS, DATA, "all"], default="all")
    parser.add_argument("--backend", choices=["jax", "tensorflow", "torch"])
    parser.add_argument("--batch-size", type=int, help="images a step")
    parser.add_argument("--repeats", type=int, default=5, help="measurements")
    parser.add_argument("--steps", type=int, help="steps a measurement")
    parser.add_argument("--unroll", choices=["auto", "yes", "no"], default="auto")
    parser.add_argument("--jit", choices=["auto", "yes", "no"], default="auto")
    parser.add_argument("--json", metavar="FILE", help='also as JSON; "-": only that')
    return parser


def _in_own_process(arguments: argparse.Namespace, net: str) -> dict[str, Any]:
    # The peak of memory belongs to a process.
    given = [
        f"--{name.replace('_', '-')}={value}"
        for name, value in vars(arguments).items()
        if value is not None and name not in ("net", "json")
    ]
    command = [sys.executable, "-m", "kmtard.benchmark", *given, f"--net={net}"]
    output = subprocess.run(
        [*command, "--json=-"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    (result,) = json.loads(output.splitlines()[-1])
    return dict(result)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one net on one backend.

    Each measurement times whole steps through `fit`, then each of the passes below
    alone, so that both see the machine in the same mood; `ratio` is the median of
    the measurements' ratios.
    """
    keras = _keras(arguments)
    setting = NETS[arguments.net]
    batch_size = arguments.batch_size or setting.batch_size
    steps = arguments.steps or setting.steps
    step, passes = _workload(arguments, setting, batch_size)
    began = time.perf_counter()
    step(1)
    first = time.perf_counter() - began
    memory = _peak_memory()
    for run, _ in passes.values():
        run(1)
    times: dict[str, list[float]] = {name: [] for name in ("step", *passes)}
    for _ in range(arguments.repeats):
        times["step"].append(_seconds(step, steps))
        for name, (run, count) in passes.items():
            times[name].append(count * _seconds(run, steps))
    floors = [sum(parts) for parts in zip(*(times[p] for p in passes), strict=True)]
    step_time = statistics.median(times["step"])
    return {
        "net": arguments.net,
        "backend": keras.backend.backend(),
        "batch_size": batch_size,
        "step_seconds": step_time,
        "floor_seconds": statistics.median(floors),
        "ratio": statistics.median(
            s / f for s, f in zip(times["step"], floors, strict=True)
        ),
        "passes_seconds": {name: statistics.median(times[name]) for name in passes},
        "images_per_second": batch_size / step_time,
        "first_step_seconds": first,
        "peak_memory_mib": memory,
    }


def measure_data(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of an epoch of shuffled, cropped and mirrored images.

    A step is one batch. An epoch to warm up comes before the measurements.
    """
    keras = _keras(arguments)
    from kmtard.data.pipeline import Split, TrainingStream

    batch_size = arguments.batch_size or IMAGE_BATCH
    count = arguments.steps * batch_size if arguments.steps else IMAGES
    rng = np.random.default_rng(0)
    split = Split(
        rng.integers(0, 256, (count, *IMAGE_SHAPE), np.uint8),
        rng.integers(0, CLASSES, count),
    )
    stream = TrainingStream(split, batch_size=batch_size, seed=0, pad=4, flip=True)
    batches, steps = stream.dataset(), stream.steps_per_epoch

    def run(count: int) -> None:
        for _ in itertools.islice(batches, count):
            pass

    first = _seconds(run, 1)
    run(steps)
    times = [_seconds(run, steps) for _ in range(arguments.repeats)]
    step_time = statistics.median(times)
    return {
        "net": DATA,
        "backend": keras.backend.backend(),
        "batch_size": batch_size,
        "step_seconds": step_time,
        "images_per_second": count / (steps * step_time),
        "first_step_seconds": first,
        "peak_memory_mib": _peak_memory(),
    }


def _keras(arguments: argparse.Namespace) -> Any:
    if arguments.backend:
        os.environ["KERAS_BACKEND"] = arguments.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with silent_native_code():
        import keras

    return keras


def _peak_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _seconds(run: Callable[[int], None], count: int) -> float:
    began = time.perf_counter()
    run(count)
    return (time.perf_counter() - began) / count


def _workload(
    arguments: argparse.Namespace, setting: Setting, batch_size: int
) -> tuple[Callable[[int], None], dict[str, tuple[Callable[[int], None], int]]]:
    import keras

    from kmtard import attacks, backend, losses, optimizers, registry
    from kmtard.methods.b_mtard import BMTARD

    rng = np.random.default_rng(0)
    x = rng.random((batch_size, *setting.shape), dtype="float32")
    y = rng.integers(0, CLASSES, batch_size)
    make = registry.resolve("networks", setting.network)
    networks = [make(CLASSES, setting.shape) for _ in range(4)]
    unroll = {"auto": None, "yes": True, "no": False}[arguments.unroll]
    jit: Any = {"auto": "auto", "yes": True, "no": False}[arguments.jit]
    model = BMTARD(*networks[:3], attack=attacks.PGD(steps=PGD_STEPS, unroll=unroll))
    callbacks = model.default_callbacks()
    model.compile(optimizers.L2SGD(0.01, weight_decay=2e-4), jit_compile=jit)
    plain = keras.Sequential([networks[3]])
    plain.compile(
        keras.optimizers.SGD(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=backend.JIT_COMPILE if jit == "auto" else jit,
    )

    def train(trained: Any, count: int, **kwargs: Any) -> None:
        images, labels = np.concatenate([x] * count), np.concatenate([y] * count)
        trained.fit(
            images, labels, batch_size=batch_size, shuffle=False, verbose=0, **kwargs
        )

    def looped(function: Callable[..., Any], *values: Any) -> Callable[[int], None]:
        tensors = [keras.ops.convert_to_tensor(value) for value in values]

        def run(count: int) -> None:
            for _ in range(count):
                result = function(*tensors)
            keras.ops.convert_to_numpy(result)

        return run

    student, teacher = networks[:2]
    gradient = backend.compile_function(
        student,
        lambda x, y: backend.input_gradient(
            lambda u: losses.cross_entropy(y, student(u, training=False)), x
        ),
    )
    forward = backend.compile_function(teacher, lambda x: teacher(x, training=False))
    return lambda count: train(model, count, callbacks=callbacks), {
        "input gradients": (looped(gradient, x, y.astype("int32")), PGD_STEPS),
        "training passes": (lambda count: train(plain, count), 2),
        "teacher passes": (looped(forward, x), 2),
    }


def _table(results: list[dict[str, Any]]) -> Table:
    table = Table(
        title="One B-MTARD step against the passes it contains",
        box=None,
        # As wide as a terminal's 80 columns.
        padding=(0, 1, 0, 0),
        caption="floor: 10 input gradients, 2 training passes, 2 teacher passes, each "
        "compiled alone; medians. data: batches of 32x32x3 images, and the share of a "
        "step that as many take. first: the first step, compilation included; MiB: "
        "peak memory of the process.",
    )
    columns = {
        "net": lambda r: r["net"],
        "backend": lambda r: r["backend"],
        "batch": lambda r: str(r["batch_size"]),
        "step ms": lambda r: f"{1e3 * r['step_seconds']:.1f}",
        "floor ms": lambda r: _shown(r, "floor_seconds", "{:.1f}", 1e3),
        "ratio": lambda r: _shown(r, "ratio", "{:.3f}"),
        "images/s": lambda r: f"{r['images_per_second']:.1f}",
        "data %": lambda r: _shown(r, "data_share", "{:.2f}", 100),
        "first s": lambda r: f"{r['first_step_seconds']:.1f}",
        "MiB": lambda r: f"{r['peak_memory_mib']:.0f}",
    }
    for column in columns:
        table.add_column(column, justify="right")
    for result in results:
        table.add_row(*(show(result) for show in columns.values()))
    return table


def _shown(result: dict[str, Any], name: str, form: str, factor: float = 1) -> str:
    return form.format(factor * result[name]) if name in result else "-"


if __name__ == "__main__":
    sys.exit(main())
