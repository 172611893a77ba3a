from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import psutil
import pytest

from kmtard.runs import EventReader, EventWriter
from kmtard.training import measuring
from kmtard.training.measuring import MOST, Measurement, measured, per_event

pytestmark = pytest.mark.once("jax")


class FakeNVML(ModuleType):
    """NVIDIA's module with two cards; `broken` names calls that fail."""

    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        pass

    def __init__(self, *broken: str) -> None:
        super().__init__("pynvml")
        self.broken = broken
        self.calls: list[str] = []
        for name, answer in {
            "nvmlInit": lambda: None,
            "nvmlShutdown": lambda: None,
            "nvmlDeviceGetCount": lambda: 2,
            "nvmlDeviceGetHandleByIndex": lambda number: number,
            "nvmlDeviceGetHandleByUUID": lambda name: 1,
            "nvmlDeviceGetUtilizationRates": lambda card: SimpleNamespace(
                gpu=(80, 40)[card]
            ),
            "nvmlDeviceGetMemoryInfo": lambda card: SimpleNamespace(
                used=(3, 1)[card] * 2**30, total=4 * 2**30
            ),
            "nvmlDeviceGetPowerUsage": lambda card: (250_000, 100_000)[card],
            "nvmlDeviceGetTemperature": lambda card, kind: (61, 45)[card],
        }.items():
            setattr(self, name, self._call(name, answer))

    def _call(self, name: str, answer: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            if name in self.broken:
                raise self.NVMLError(f"{name} is not supported")
            return answer(*arguments)

        return call


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeNVML]:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def use(*broken: str) -> FakeNVML:
        fake = FakeNVML(*broken)
        monkeypatch.setitem(sys.modules, "pynvml", fake)
        return fake

    return use


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "PAUSE", 0.01)


def run_until(count: int, path: Path, lines: list[str]) -> list[dict[str, Any]]:
    """Measure until there are so many events of a kind; return all events."""
    events = EventWriter(path)
    events.write("run_started", resumed=False)
    end = time.monotonic() + 30
    with measured(events, lines.append):
        while sum(e["event"] == "system" for e in EventReader(path).poll()) < count:
            assert time.monotonic() < end, "nothing was measured"
            time.sleep(0.01)
    return EventReader(path).poll()


def start(devices: int = 1) -> tuple[Measurement, list[str]]:
    said: list[str] = []
    measure = Measurement(said.append, devices)
    measure.start()
    return measure, said


def test_without_a_card_the_process_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    measure, said = start()
    found = measure()
    measure.close()

    assert found.keys() == {"cpu", "memory", "machine_memory"} and not said
    assert 0 <= found["cpu"] <= 100 and 0 < found["machine_memory"] <= 100
    assert found["memory"] > 1e6


@pytest.mark.parametrize("broken", ["nvmlInit", ""])
def test_a_module_without_a_driver_is_no_mistake(
    nvml: Callable[..., FakeNVML], broken: str
) -> None:
    nvml(broken)
    measure, said = start()

    assert ("gpu" in measure()) == (not broken) and not said


def test_the_cards_of_the_run_are_measured(nvml: Callable[..., FakeNVML]) -> None:
    fake = nvml()
    one = start(1)[0]()
    measure, _ = start(2)
    two = measure()
    measure.close()

    names = ("gpu", "gpu_memory", "gpu_memory_share", "gpu_power", "gpu_temperature")
    assert [one[name] for name in names] == [80, 3 * 2**30, 75, 250, 61]
    assert [two[name] for name in names] == [60, 4 * 2**30, 75, 350, 61]
    assert fake.calls[-1] == "nvmlShutdown"


@pytest.mark.parametrize(
    ("shown", "gpu"),
    [("1", 40), ("1,0", 40), (" GPU-1f", 40), ("0", 80), ("", None), ("-1,0", None)],
)
def test_only_visible_cards_count(
    nvml: Callable[..., FakeNVML],
    monkeypatch: pytest.MonkeyPatch,
    shown: str,
    gpu: float | None,
) -> None:
    nvml()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)

    assert start(1)[0]().get("gpu") == gpu


def test_a_failing_call_is_told_once_and_the_others_go_on(
    nvml: Callable[..., FakeNVML], often: None, tmp_path: Path
) -> None:
    fake = nvml("nvmlDeviceGetPowerUsage", "nvmlDeviceGetTemperature")
    lines: list[str] = []
    events = run_until(3, tmp_path / "events.jsonl", lines)

    warnings = [e["message"] for e in events if e["event"] == "warning"]
    assert warnings == [
        "Cannot measure the power of the GPU: nvmlDeviceGetPowerUsage is not "
        "supported. The run continues."
    ]
    assert lines == [f"warning: {warnings[0]}"]
    assert fake.calls.count("nvmlDeviceGetPowerUsage") == 1
    rows = [e["metrics"] for e in events if e["event"] == "system"]
    assert all(row["gpu"] == 80 and "gpu_power" not in row for row in rows)


def test_cards_that_cannot_be_found_are_told(nvml: Callable[..., FakeNVML]) -> None:
    nvml("nvmlDeviceGetCount")
    measure, said = start()

    assert "gpu" not in measure() and len(said) == 1 and "the GPUs" in said[0]


def test_a_system_that_tells_nothing_is_told_once(
    monkeypatch: pytest.MonkeyPatch, nvml: Callable[..., FakeNVML]
) -> None:
    nvml()
    measure, said = start()
    monkeypatch.setattr(
        measure._process, "memory_info", Mock(side_effect=psutil.AccessDenied(1))
    )

    assert measure().keys() == measure().keys() and "gpu" in measure()
    assert len(said) == 1 and "the memory" in said[0]


def test_the_number_of_events_is_bounded(
    monkeypatch: pytest.MonkeyPatch, often: None, tmp_path: Path
) -> None:
    monkeypatch.setattr(measuring, "MOST", 8)
    monkeypatch.setattr(measuring, "HALVING", 2)
    path, lines = tmp_path / "events.jsonl", list[str]()
    seconds = [
        round(e["seconds"] / 0.01)
        for e in run_until(5, path, lines)
        if e["event"] == "system"
    ]
    assert seconds[:5] == [1, 1, 2, 2, 4]
    # A resumed run continues to count, and ends to measure.
    assert len(run_until(8, path, lines)) == 2 + 8
    with measured(EventWriter(path), lines.append):
        time.sleep(0.1)
    assert len(EventReader(path).poll()) == 2 + 8


def test_a_run_of_three_weeks_is_within_the_limit() -> None:
    days = sum(measuring.PAUSE * per_event(count) for count in range(MOST)) / 86400
    assert days > 21


def test_a_run_folder_that_is_gone_ends_only_the_measuring(
    often: None, tmp_path: Path
) -> None:
    with measured(EventWriter(tmp_path / "none" / "events.jsonl"), print):
        time.sleep(0.1)
    assert not (tmp_path / "none").exists()


def test_a_failure_of_the_run_passes_through(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError):
        with measured(EventWriter(tmp_path / "events.jsonl"), print):
            raise FloatingPointError
