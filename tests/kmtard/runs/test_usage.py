from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kmtard.runs import EventWriter, Run
from kmtard.runs.history import History
from kmtard.runs.usage import Usage

pytestmark = pytest.mark.once("jax")


def event(seconds: float = 10.0, **metrics: Any) -> dict[str, Any]:
    return {"event": "system", "seconds": seconds, "metrics": metrics}


def test_values_are_kept_over_the_working_time() -> None:
    usage = Usage()
    usage.add(event(cpu=50.0, gpu=90.0), 10.0, is_training=True)
    usage.add(event(cpu=60.0), 20.0, is_training=True)

    assert (usage.series["cpu"].x, usage.series["cpu"].y) == ([10, 20], [50, 60])
    assert (usage.series["gpu"].x, usage.last) == ([10], {"cpu": 60.0})


def test_a_list_of_runs_keeps_no_series() -> None:
    usage = Usage(in_detail=False)
    usage.add(event(cpu=50.0), 10.0, is_training=True)

    assert usage.series == {} and usage.last == {"cpu": 50.0}


@pytest.mark.parametrize(
    "damaged",
    [
        {"metrics": None},
        {"metrics": {"cpu": "much", "gpu": None, "memory": True, "other": 1.0}},
        {"metrics": {"cpu": -1.0, "gpu": float("nan")}, "seconds": "ten"},
        {"metrics": [], "seconds": -5},
    ],
)
def test_damaged_values_are_skipped(damaged: dict[str, Any]) -> None:
    usage = Usage()
    usage.add(damaged, 10.0, is_training=True)

    assert usage.series == {} and usage.last == {} and not usage.warnings()


def test_an_idle_card_is_told_after_a_minute_of_training() -> None:
    usage = Usage()
    for number in range(6):
        assert not usage.warnings()
        usage.add(event(gpu=12.0), 10.0 * number, is_training=True)
    [warning] = usage.warnings()
    assert warning.startswith("The GPU idles: 12 % used, below 30 % for 1m")

    usage.add(event(gpu=80.0), 70.0, is_training=True)
    assert not usage.warnings()
    usage.add(event(60.0, gpu=29.0), 130.0, is_training=True)
    assert usage.warnings()


@pytest.mark.parametrize(
    ("metrics", "is_training"), [({"gpu": 12.0}, False), ({"cpu": 5.0}, True)]
)
def test_only_a_card_that_should_train_can_idle(
    metrics: dict[str, float], is_training: bool
) -> None:
    usage = Usage()
    usage.add(event(600.0, **metrics), 600.0, is_training=is_training)
    assert not usage.warnings()


def test_memory_that_is_nearly_full_is_told() -> None:
    usage = Usage()
    usage.add(event(machine_memory=90.0, gpu_memory_share=90.0), 1.0, is_training=True)
    assert not usage.warnings()
    usage.add(
        event(
            machine_memory=93.4,
            memory=3 * 2**30,
            gpu_memory_share=96.0,
            gpu_memory=76 * 2**30,
        ),
        2.0,
        is_training=False,
    )
    assert usage.warnings() == [
        "The memory of the machine is 93 % full; this run uses 3.0 GiB.",
        "The memory of the GPU is 96 % full: 76.0 GiB.",
    ]


def test_a_history_knows_when_a_network_is_trained(
    make_run: Callable[..., Run],
) -> None:
    run = make_run(state="running", done=0, phases=["student"])
    events, history = EventWriter(run.events_path), History(run)
    # While the first batch is compiled, a card has nothing to do.
    events.write("system", seconds=60.0, metrics={"gpu": 0.0})
    history.poll()
    assert not history.usage.warnings()
    events.write("step", phase="student", epoch=1, step=5, steps=10, metrics={})
    events.write("system", seconds=60.0, metrics={"gpu": 3.0})
    history.poll()
    assert len(history.usage.warnings()) == 1
    events.write("phase_started", phase="evaluation")
    events.write("system", seconds=60.0, metrics={"gpu": 3.0})
    history.poll()
    assert not history.usage.warnings()
