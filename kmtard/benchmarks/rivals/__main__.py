"""Time the work in plain PyTorch in a separate process.

The only argument is a JSON object with the settings:

* `work`: "step", "pgd" or "apgd"; "step" if it is left out.
* `network`, `shape`, `batch_size`, `precision`, `pgd_steps`, `compiler`: see `Step`.
* `steps`, `epsilon`, `step_size`: the attack of the work "pgd" or "apgd".

The process writes `{"device": NAME}` when it is ready. It answers each line
`[KIND, COUNT]` on stdin with `{"seconds": ..., "cpu_seconds": ...}` per repetition.
KIND is "eager" or "compiled". The first answer for "compiled" includes building the
networks and compiling them. If this fails, the answer is `{"error": TEXT}`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from kmtard.benchmarks.rivals.attacks import Evaluation
from kmtard.benchmarks.rivals.networks import NETWORKS
from kmtard.benchmarks.rivals.step import Step

CLASSES = 10


def main(settings: dict[str, Any]) -> int:
    """Answer until stdin ends; return the exit code."""
    # Compilers print to stdout too, which must not mix with the answers.
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(**message: Any) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    torch.manual_seed(0)
    make = _step if settings.get("work", "step") == "step" else _evaluation
    runs = {"eager": make(settings, None, device)}
    answer(device=torch.cuda.get_device_name() if cuda else "cpu")
    for line in sys.stdin:
        kind, count = json.loads(line)
        began, began_cpu = time.perf_counter(), time.process_time()
        try:
            if kind not in runs:
                runs[kind] = make(settings, settings["compiler"], device)
            runs[kind](count)
        except Exception as error:  # the compilers have no common exception
            if kind != "compiled":
                raise
            answer(error=f"{type(error).__name__}: {error}".splitlines()[0])
            continue
        if cuda:
            torch.cuda.synchronize()
        answer(
            seconds=(time.perf_counter() - began) / count,
            cpu_seconds=(time.process_time() - began_cpu) / count,
        )
    return 0


def _step(
    settings: dict[str, Any], compiler: str | None, device: torch.device
) -> Callable[[int], None]:
    step = Step(
        *(_network(settings, device) for _ in range(3)),
        precision=settings["precision"],
        compiler=compiler,
        pgd_steps=settings["pgd_steps"],
    )
    # Our step also copies its images from the host.
    pinned = device.type == "cuda"
    batch = [part.pin_memory() if pinned else part for part in _batch(settings)]

    def run(count: int) -> None:
        for _ in range(count):
            x, y = (part.to(device, non_blocking=True) for part in batch)
            loss = step(x, y)
        loss.item()

    return run


def _evaluation(
    settings: dict[str, Any], compiler: str | None, device: torch.device
) -> Callable[[int], None]:
    evaluation = Evaluation(_network(settings, device), compiler=compiler)
    x = _batch(settings)[0].to(device)
    epsilon, steps = settings["epsilon"], settings["steps"]
    # No image is misclassified without an attack, so that all are attacked.
    y = evaluation.predict(x)

    def run(count: int) -> None:
        for _ in range(count):
            correct = evaluation.predict(x) == y
            start = x + epsilon * (2 * torch.rand_like(x) - 1)
            if settings["work"] == "pgd":
                size = settings["step_size"]
                found = evaluation.pgd(
                    x, y, start, steps=steps, epsilon=epsilon, step_size=size
                )
            else:
                found = evaluation.apgd(x, y, start, steps=steps, epsilon=epsilon)
            correct &= evaluation.predict(found) == y
        correct.sum().item()

    return run


def _network(settings: dict[str, Any], device: torch.device) -> torch.nn.Module:
    return NETWORKS[settings["network"]](CLASSES, settings["shape"]).to(device)


def _batch(settings: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    height, width, channels = settings["shape"]
    size = (settings["batch_size"], channels, height, width)
    images = torch.rand(size).contiguous(memory_format=torch.channels_last)
    return images, torch.randint(CLASSES, size[:1])


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
