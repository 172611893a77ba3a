"""Compare our steps and attacks with the same work in plain PyTorch.

`kmtard benchmark --against torch` starts two processes per row: ours (`ours`) and that
of plain PyTorch (`kmtard.benchmarks.rivals`). They work in turns, never at once, and
change their order each round. A ratio is that of two times in one round, so that both
are measured under the same load of the machine. `table` shows the rows.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kmtard.benchmarks.step import NETS
from kmtard.benchmarks.turns import Refused, Times, Worker
from kmtard.training.startup import thread_variables

LASTING = 0.5
"""Approximate duration of a measurement, in seconds."""


@dataclass(frozen=True)
class Work:
    """What both sides do with a batch.

    Attributes:
        kind: "step", "pgd" or "apgd".
        attack: settings of the attack, except in a step.
    """

    kind: str
    attack: Mapping[str, float] = field(default_factory=dict)


WORKS = {
    "step": Work("step"),
    "pgd-20": Work("pgd", {"steps": 20, "epsilon": 8 / 255, "step_size": 2 / 255}),
    # With this radius no image can be fooled, so that no attack stops early.
    "apgd": Work("apgd", {"steps": 20, "epsilon": 0.0}),
}
"""Name -> work: a B-MTARD step, and two attacks of an evaluation."""


@dataclass(frozen=True)
class Rules:
    """How to measure.

    Attributes:
        backend: Keras backend of our side; None for the configured one.
        rounds: number of measurements of each side.
        batch_size: images per batch; None for that of the network's setting.
        count: repetitions per measurement; None for half a second of work.
        compiler: backend of `torch.compile`; None to leave the compiled side out.
        pgd_steps: steps of the attack in a B-MTARD step.
        threads: number of threads of our side; None for one per core, as for PyTorch.
    """

    backend: str | None = None
    rounds: int = 5
    batch_size: int | None = None
    count: int | None = None
    compiler: str | None = "inductor"
    pgd_steps: int = 10
    threads: int | None = None


def rows(
    nets: Iterable[str], works: Iterable[str], rules: Rules
) -> Iterator[dict[str, Any]]:
    """Yield one row per network and work.

    Args:
        nets: names in `kmtard.benchmarks.step.NETS`.
        works: names in `WORKS`.
        rules: how to measure.

    Raises:
        RuntimeError: a process ended, for example because PyTorch is not installed.
    """
    works = list(works)
    for net in nets:
        for name in works:
            yield _row(net, name, rules)


def _row(net: str, name: str, rules: Rules) -> dict[str, Any]:
    setting, work = NETS[net], WORKS[name]
    batch_size = rules.batch_size or setting.batch_size
    settings = {
        "work": work.kind,
        "network": setting.network,
        "shape": setting.shape,
        "batch_size": batch_size,
        "pgd_steps": rules.pgd_steps,
        "precision": "float32",
        "compiler": rules.compiler,
        **work.attack,
    }
    environment = {"KERAS_BACKEND": rules.backend} if rules.backend else {}
    if rules.threads:
        environment |= thread_variables(rules.threads)
    with (
        Worker(f"{__name__}.ours", settings, environment) as ours,
        Worker("kmtard.benchmarks.rivals", settings) as rival,
    ):
        sides = {"ours": ours, "eager": rival}
        if rules.compiler:
            sides["compiled"] = rival
        first, refused = _first(sides)
        count = rules.count or _count(sides)
        found = _alternate(sides, rules.rounds, count)
        backend = ours.ready["backend"]
    row = {
        "net": net,
        "work": name,
        "backend": backend,
        "batch_size": batch_size,
        "threads": rules.threads,
        "rounds": rules.rounds,
        "count": count,
        "first_seconds": {kind: times.wall for kind, times in first.items()},
        "compile_error": refused,
    }
    for key, of in (("seconds", 0), ("cpu_seconds", 1)):
        values = {kind: [times[of] for times in each] for kind, each in found.items()}
        row[key] = {kind: statistics.median(each) for kind, each in values.items()}
        ratio = "ratio" if key == "seconds" else "cpu_ratio"
        mine = values.pop("ours")
        row[ratio] = {kind: spread(mine, each) for kind, each in values.items()}
    return row


def _first(sides: dict[str, Worker]) -> tuple[dict[str, Times], str | None]:
    """Run each side twice, because its first calls compile; drop one that cannot."""
    first, refused = {}, None
    for kind, worker in list(sides.items()):
        try:
            first[kind] = worker.times(kind, 1)
            worker.times(kind, 1)
        except Refused as error:
            refused = str(error)
            del sides[kind]
    return first, refused


def _count(sides: Mapping[str, Worker]) -> int:
    longest = max(worker.times(kind, 1).wall for kind, worker in sides.items())
    return max(1, round(LASTING / longest))


def _alternate(
    sides: Mapping[str, Worker], rounds: int, count: int
) -> dict[str, list[Times]]:
    found: dict[str, list[Times]] = {kind: [] for kind in sides}
    for number in range(rounds):
        # The side that comes first may find the machine in another state.
        order = list(sides)
        for kind in order if number % 2 == 0 else reversed(order):
            found[kind].append(sides[kind].times(kind, count))
    return found


def spread(ours: Iterable[float], theirs: Iterable[float]) -> dict[str, float]:
    """Return the median and the range of the ratios of the rounds.

    Args:
        ours: our time in each round.
        theirs: the other side's time in each round, in the same order.

    Example:
        >>> from kmtard.benchmarks.against import spread
        >>> spread([2.0, 3.0, 9.0], [2.0, 2.0, 3.0])
        {'median': 1.5, 'low': 1.0, 'high': 3.0}
    """
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "median": statistics.median(ratios),
        "low": min(ratios),
        "high": max(ratios),
    }
