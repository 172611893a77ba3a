"""Measure what a run uses of its machine, and write it as events."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kmtard.runs.events import EventReader, EventWriter
from kmtard.runs.files import RunError
from kmtard.runs.usage import SYSTEM

PAUSE = 10.0
"""Seconds between two measurements, and between the first events."""

HALVING = 200
"""After so many events, the time between two events is doubled, again and again."""

MOST = 2000
"""Largest number of events of a run: 23 days of it."""

PROCESS = "the use of the processor and the memory"
PATIENCE = 5.0
"""Seconds to wait at the end for a measurement that is under way."""


@contextmanager
def measured(
    events: EventWriter, line: Callable[[str], None], *, devices: int = 1
) -> Iterator[None]:
    """Measure this process while a run is executed.

    A thread measures every 10 s. No step waits for it: it reads what the operating
    system and the driver of the card know. An event has the mean of the measurements
    since the event before. What cannot be measured is told once.

    Args:
        events: writes the events `system`.
        line: called with each line of text for the user.
        devices: number of devices of the run, the first ones that it sees.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> events = EventWriter(Path(tempfile.mkdtemp()) / "events.jsonl")
        >>> with measured(events, print):
        ...     pass
    """
    ended = threading.Event()

    def warn(text: str) -> None:
        events.write("warning", message=text)
        line(f"warning: {text}")

    measure = Measurement(warn, devices)
    thread = threading.Thread(
        target=_measure, args=(events, measure, ended), name="measuring", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(PATIENCE)


def _measure(events: EventWriter, measure: Measurement, ended: threading.Event) -> None:
    # If the folder is gone or the disk is full, the run itself ends and says so.
    try:
        reader = EventReader(events.path, containing=f'"{SYSTEM}"'.encode())
        found = (event.get("event") for event in reader.poll())
        count = sum(kind == SYSTEM for kind in found)
        measure.start()
        rows: list[Mapping[str, float]] = []
        while count < MOST and not ended.wait(PAUSE):
            rows.append(measure())
            if len(rows) >= per_event(count) and not ended.is_set():
                seconds = PAUSE * len(rows)
                events.write(SYSTEM, seconds=seconds, metrics=mean_of(rows))
                rows, count = [], count + 1
    except (OSError, RunError):
        return
    finally:
        measure.close()


def per_event(count: int) -> int:
    """Return how many measurements the next event is of.

    Args:
        count: number of events that the run has, also from before it was resumed.

    Example:
        >>> per_event(0), per_event(199), per_event(200), per_event(1999)
        (1, 1, 2, 512)
    """
    return int(2 ** (count // HALVING))


def mean_of(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each value over the measurements that have it.

    Example:
        >>> mean_of([{"cpu": 10.0, "gpu": 5.0}, {"cpu": 20.0}])
        {'cpu': 15.0, 'gpu': 5.0}
    """
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            values.setdefault(name, []).append(value)
    return {name: sum(found) / len(found) for name, found in values.items()}


class Measurement:
    """Measures this process, the memory of the machine, and the cards of the run.

    Args:
        warn: called once with the reason if something cannot be measured.
        devices: number of cards, the first ones that this process sees.
    """

    def __init__(self, warn: Callable[[str], None], devices: int = 1) -> None:
        self._warn = warn
        self._devices = devices
        self._errors: tuple[type[Exception], ...] = ()
        self._nvml: Any = None
        self._cards: list[Any] = []
        self._failed: set[str] = set()

    def start(self) -> None:
        """Begin to measure; processor time counts from now on."""
        import psutil

        self._errors = (psutil.Error, OSError)
        self._psutil, self._process = psutil, psutil.Process()
        self._cores = len(os.sched_getaffinity(0))
        self._tried(PROCESS, self._process.cpu_percent)
        # Optional: the extra `gpu` installs it.
        try:
            import pynvml
        except ImportError:
            return
        try:
            pynvml.nvmlInit()
        # There is no card, or none with this driver.
        except pynvml.NVMLError:
            return
        self._nvml = pynvml
        self._errors = (*self._errors, pynvml.NVMLError)
        self._cards = self._tried("the GPUs", self._find) or []

    def __call__(self) -> dict[str, float]:
        """Return what is used now, by the names of `kmtard.runs.usage`."""
        found: dict[str, float] = {}
        for name, read in {PROCESS: self._host, **self._readings()}.items():
            found |= self._tried(name, read) or {}
        return found

    def _host(self) -> dict[str, float]:
        return {
            "cpu": min(100.0, self._process.cpu_percent() / self._cores),
            "memory": float(self._process.memory_info().rss),
            "machine_memory": float(self._psutil.virtual_memory().percent),
        }

    def close(self) -> None:
        """End the use of the driver."""
        if self._nvml is not None:
            self._tried("the end of the measurement", self._nvml.nvmlShutdown)
            self._nvml = None

    def _find(self) -> list[Any]:
        """Return the first cards that this process sees."""
        nvml = self._nvml
        shown = os.environ.get("CUDA_VISIBLE_DEVICES")
        count = nvml.nvmlDeviceGetCount()
        names = list(map(str, range(count))) if shown is None else shown.split(",")
        cards = []
        for name in map(str.strip, names[: self._devices]):
            if name.isdecimal() and int(name) < count:
                cards.append(nvml.nvmlDeviceGetHandleByIndex(int(name)))
            elif name.startswith(("GPU-", "MIG-")):
                cards.append(nvml.nvmlDeviceGetHandleByUUID(name))
            else:
                # CUDA, too, ignores a wrong number and all after it.
                break
        return cards

    def _readings(self) -> dict[str, Callable[[], dict[str, float]]]:
        """Return what is read of the cards, by its name for the user."""
        if not self._cards:
            return {}
        nvml, cards = self._nvml, self._cards

        def utilization() -> dict[str, float]:
            rates = [nvml.nvmlDeviceGetUtilizationRates(card).gpu for card in cards]
            return {"gpu": sum(rates) / len(rates)}

        def memory() -> dict[str, float]:
            each = [nvml.nvmlDeviceGetMemoryInfo(card) for card in cards]
            return {
                "gpu_memory": float(sum(one.used for one in each)),
                # The fullest card is the one that fails first.
                "gpu_memory_share": max(100.0 * one.used / one.total for one in each),
            }

        def power() -> dict[str, float]:
            milliwatts = [nvml.nvmlDeviceGetPowerUsage(card) for card in cards]
            return {"gpu_power": sum(milliwatts) / 1000}

        def temperature() -> dict[str, float]:
            kind = nvml.NVML_TEMPERATURE_GPU
            each = [nvml.nvmlDeviceGetTemperature(card, kind) for card in cards]
            return {"gpu_temperature": float(max(each))}

        return {
            "the utilization of the GPU": utilization,
            "the memory of the GPU": memory,
            "the power of the GPU": power,
            "the temperature of the GPU": temperature,
        }

    def _tried(self, name: str, read: Callable[[], Any]) -> Any:
        """Return a reading; None, now and later, if the system cannot give it."""
        if name in self._failed:
            return None
        try:
            return read()
        except self._errors as error:
            # One message: if one reading is missing, others often are, too.
            if not self._failed:
                self._warn(f"Cannot measure {name}: {error}. The run continues.")
            self._failed.add(name)
            return None
