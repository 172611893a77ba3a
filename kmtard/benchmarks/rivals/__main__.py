"""Time the PyTorch step in a separate process.

The only argument is a JSON object with the settings. The process writes
`{"device": NAME}` when it is ready. It answers each line `[KIND, STEPS]` on stdin with
`{"seconds": SECONDS_PER_STEP}`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import torch

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
    height, width, channels = settings["shape"]
    size = (settings["batch_size"], channels, height, width)
    images = torch.rand(size).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, size[:1])
    # Our step also copies its images from the host.
    batch = [part.pin_memory() if cuda else part for part in (images, labels)]
    steps = {}
    for kind, compiler in (("eager", None), ("compiled", settings["compiler"])):
        networks = [
            NETWORKS[settings["network"]](CLASSES, settings["shape"]).to(device)
            for _ in range(3)
        ]
        steps[kind] = Step(
            *networks,
            precision=settings["precision"],
            compiler=compiler,
            pgd_steps=settings["pgd_steps"],
        )
    answer(device=torch.cuda.get_device_name() if cuda else "cpu")
    for line in sys.stdin:
        kind, count = json.loads(line)
        began = time.perf_counter()
        for _ in range(count):
            x, y = (part.to(device, non_blocking=True) for part in batch)
            loss = steps[kind](x, y)
        loss.item()
        if cuda:
            torch.cuda.synchronize()
        answer(seconds=(time.perf_counter() - began) / count)
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
