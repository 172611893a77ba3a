"""Measure the terminal interface from outside, in a pseudo terminal.

The interface is a separate process, as for a user. It lists a folder of generated runs,
of which the newest one counts as running. Nothing of the package `launcher` is imported
here.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import math
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from kmtard.benchmarks.terminal import FRAME_END, Terminal, opened
from kmtard.runs import EventWriter, Run
from kmtard.runs.results import SCHEMA

EPOCHS = 50
SEEDS = 5
FEWEST = 2  # runs that can be compared
PROGRAM = ("-m", "launcher.main")
PHASES = ("nat_teacher", "adv_teacher", "student")
PRESSES = 30
SETTLE = 2.0  # seconds, after which a screen is idle
PAUSE = 0.2  # seconds between two keys

RECIPE = """\
[data]
name = "digits"
[student]
network = "small_cnn"
[method]
name = "b_mtard"
[attack]
steps = {}
[runtime]
seed = {}
"""

UP, DOWN, ENTER, ESCAPE = b"\x1b[A", b"\x1b[B", b"\r", b"\x1b"


class Goal(NamedTuple):
    """A figure and its limit.

    Attributes:
        title: what is measured.
        name: key of the figure in the JSON.
        limit: the largest value that meets the goal.
        unit: of both.
    """

    title: str
    name: str
    limit: float
    unit: str


GOALS = (
    Goal("first paint, over `import textual`", "first_paint", 0.3, "s"),
    Goal("all runs listed", "listed", 1.5, "s"),
    Goal("key to paint", "key", 0.05, "s"),
    Goal("idle processor time, busiest screen", "idle", 2.0, "%"),
    Goal("memory, after all screens", "memory", 120.0, "MiB"),
)

SCREENS: tuple[tuple[str, tuple[bytes, ...], bytes], ...] = (
    ("runs", (), b"Runs"),
    ("run", (b"g", ENTER), b"Smooth"),
    ("curves", (b"v",), b"Close"),
    ("report", (ESCAPE, b"R"), b"Report"),
    ("robustness", (ESCAPE, b"i"), b"Robustness"),
    ("compare", (ESCAPE, ESCAPE, b" ", b" ", b"c"), b"Compare"),
    ("queue", (ESCAPE, b"3"), b"Nothing is queued"),
    ("recipes", (b"2",), b"found"),
    ("recipe form", (ENTER,), b"optimizer"),
    ("study", (b"\x1b[21~",), b"Seeds"),
    ("help", (ESCAPE, b"1", b"?"), b"Close"),
)
"""Name of a screen, the keys from the one before, and text that it alone has."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this measurement to the command's."""
    group = parser.add_argument_group("terminal interface")
    group.add_argument(
        "--launcher",
        action="store_true",
        help="measure the terminal interface instead: first paint, time until the runs "
        "are listed, key to paint, idle processor time and memory",
    )
    group.add_argument(
        "--runs", type=int, default=200, help="runs in the list (default: 200)"
    )
    group.add_argument(
        "--seconds",
        type=float,
        default=10.0,
        help="how long each screen is watched while it is idle (default: 10)",
    )


def mistake(arguments: argparse.Namespace) -> str:
    """Return what is wrong with the options; empty if nothing is."""
    if arguments.runs < FEWEST:
        return f"--runs: expected at least {FEWEST}. Received: {arguments.runs}."
    if not 0 < arguments.seconds < math.inf:
        return f"--seconds: expected a number > 0. Received: {arguments.seconds}."
    return ""


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the terminal interface.

    Args:
        arguments: the options of `kmtard benchmark`: `repeats` is the number of starts,
            `runs` the number of runs in the list, `seconds` the duration per screen.

    Returns:
        For each figure of `GOALS` its value, its limit and its unit; the processor
        seconds of each start; the idle share of each screen in percent; and the state
        of the machine.

    Raises:
        TerminalError: the interface did not draw what was expected.
    """
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_runs(folder / "runs", arguments.runs)
        starts = [_start(folder, arguments.runs) for _ in range(arguments.repeats)]
        with _launcher(folder) as terminal:
            terminal.wait_for(_listed(arguments.runs))
            terminal.watch(SETTLE)
            listed_memory = terminal.memory()
            keys = _keys(terminal)
            idle, memory = _idle(terminal, arguments.seconds)
    found = {
        name: statistics.median(each[name] for each in starts) for name in starts[0]
    }
    values = {
        "first_paint": statistics.median(
            each["first_paint"] - each["import"] for each in starts
        ),
        "listed": found["listed"],
        "key": keys["median"],
        "idle": max(idle.values()),
        "memory": max(memory.values()),
    }
    return {
        "net": "launcher",
        "figures": {
            goal.name: {
                "value": values[goal.name],
                "limit": goal.limit,
                "unit": goal.unit,
                "is_met": values[goal.name] <= goal.limit,
            }
            for goal in GOALS
        },
        "start_seconds": found,
        "key_seconds": keys,
        "idle_percent": idle,
        "memory_mib": {"listed": listed_memory, **memory},
        "machine": {
            "python": platform.python_version(),
            "textual": importlib.metadata.version("textual"),
            "cores": len(os.sched_getaffinity(0)),
            "load_before": load[0],
            "load_after": os.getloadavg()[0],
        },
        "runs": arguments.runs,
        "repeats": arguments.repeats,
        "seconds_per_screen": arguments.seconds,
    }


def table(result: dict[str, Any]) -> Table:
    """Return the result of `measure` as a table for a terminal."""
    machine, start = result["machine"], result["start_seconds"]
    shown = Table(
        title=f"The terminal interface with {result['runs']} runs",
        box=None,
        padding=(0, 1, 0, 0),
        caption=f"Medians of {result['repeats']} starts and {PRESSES} keys. Processor "
        f"time until the first paint: {start['first_paint_cpu']:.2f} s, of which "
        f"{start['import_cpu']:.2f} s are `import textual`; until all runs are listed: "
        f"{start['listed_cpu']:.2f} s. Slowest key: "
        f"{1e3 * result['key_seconds']['slowest']:.0f} ms. Load of the machine: "
        f"{machine['load_before']:.1f} before, {machine['load_after']:.1f} after, on "
        f"{machine['cores']} cores. Work beside it makes the times longer.",
    )
    for column in ("figure", "measured", "goal", ""):
        shown.add_column(column, justify="right" if column else "left")
    shown.columns[0].justify = "left"
    for goal in GOALS:
        figure = result["figures"][goal.name]
        shown.add_row(
            goal.title,
            _shown(figure["value"], goal.unit),
            f"≤ {_shown(goal.limit, goal.unit)}",
            "" if figure["is_met"] else "missed",
        )
    shown.add_section()
    for name, share in result["idle_percent"].items():
        shown.add_row(f"  idle: {name}", _shown(share, "%"))
    return shown


def make_runs(folder: Path, count: int) -> None:
    """Write finished runs of three phases, and one that runs in this process.

    Args:
        folder: of the runs; it is created.
        count: number of runs, >= 1. The last one runs and is evaluated.
    """
    for number in range(count):
        is_last = number == count - 1
        # The list shows the newest run first.
        created = time.time() - count + number
        details = {"backend": "jax", "created": created}
        # The runs of one setting are grouped, as in a real folder. The last run is the
        # only one of its setting, so that the first line of the list is always a run.
        setting = 1 if is_last else 2 + number // SEEDS
        recipe = RECIPE.format(setting, number % SEEDS)
        run = Run.create(folder, f"run-{number:03}", recipe, details)
        events = EventWriter(run.events_path)
        events.write("run_started", resumed=False, method="b_mtard")
        for phase in PHASES:
            events.write("phase_started", phase=phase, step=0, epochs=EPOCHS)
            is_unfinished = is_last and phase == PHASES[-1]
            for epoch in range(1, EPOCHS // 2 if is_unfinished else EPOCHS + 1):
                events.write(
                    "epoch",
                    phase=phase,
                    epoch=epoch,
                    step=20 * epoch,
                    seconds=2.5,
                    metrics=_metrics(epoch / EPOCHS),
                )
        run.log_path.write_text("student  epoch 1/50\n" * 500)
        if is_last:
            run.evaluation_path.write_text(json.dumps(_record()))
        else:
            events.write("run_finished", metrics={})


def _metrics(done: float) -> dict[str, float]:
    clean, robust = 0.5 + 0.45 * done, 0.2 + 0.4 * done
    return {
        "learning_rate": 0.1,
        "loss": 2.0 - done,
        "nat_loss": 1.0 - done / 2,
        "adv_loss": 1.2 - done / 2,
        "nat_weight": 0.5 - 0.1 * done,
        "adv_weight": 0.5 + 0.1 * done,
        "nat_temperature": 1.0 + done,
        "adv_temperature": 1.0,
        "nat_entropy": 0.2 + done,
        "adv_entropy": 1.5,
        "clean_accuracy": clean,
        "robust_accuracy": robust,
        "w_robust_accuracy": (clean + robust) / 2,
    }


def _record() -> dict[str, Any]:
    """Return an evaluation of four images, with an outcome for each."""

    def score(bits: str, predictions: str) -> dict[str, Any]:
        accuracy = bits.count("1") / len(bits)
        return {
            "accuracy": accuracy,
            "w_robust_accuracy": (accuracy + 0.75) / 2,
            "interval": [0.1, 0.9],
            "correct": bits.count("1"),
            "class_accuracy": {"0": 1.0, "1": 0.5},
            "worst_class": {"label": 1, "accuracy": 0.5},
            "settings": {"kind": "PGD", "epsilon": 0.1},
            "cost": {
                **{"queries": 1.0, "median_queries": None, "max_queries": 1},
                **{"forwards": 21.0, "backwards": 20.0, "seconds": 12.5},
            },
            **{"distance": None, "stages": None},
            "robust": bits,
            "predictions": predictions,
        }

    student: dict[str, Any] = {
        "role": "student",
        "name": "student",
        "weights": "abc",
        "seconds": None,
        "clean": score("1110", "0 1 1 0"),
        "attacks": {"pgd_trades": score("1100", "0 1 0 0")},
        "worst_case": score("1100", "0 1 0 0"),
        "findings": [],
    }
    return {
        "schema": SCHEMA,
        "data": "digits (test)",
        "images": 4,
        "labels": "0 1 1 1",
        "headline": "pgd_trades",
        "conditions": {"seed": 0, "epsilon": 0.1},
        "environment": {"backend": "jax"},
        "networks": [student],
        "pictures": None,
    }


@contextlib.contextmanager
def _launcher(folder: Path) -> Iterator[Terminal]:
    command = [sys.executable, *PROGRAM, "--runs", str(folder / "runs")]
    own = {
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }
    with opened(command, folder, own) as terminal:
        yield terminal


def _listed(count: int) -> bytes:
    return rb"%d runs?, 1 running" % count


def _start(folder: Path, count: int) -> dict[str, float]:
    """Measure one start in seconds of the clock and of the processor."""
    seconds, processor = _timed(
        lambda: subprocess.run([sys.executable, "-c", "import textual"], check=True)
    )
    with _launcher(folder) as terminal:
        painted = terminal.wait_for(b"Runs") - terminal.began
        painted_cpu = terminal.cpu_seconds()
        listed = terminal.wait_for(_listed(count)) - terminal.began
        listed_cpu = terminal.cpu_seconds()
    return {
        "import": seconds,
        "import_cpu": processor,
        "first_paint": painted,
        "first_paint_cpu": painted_cpu,
        "listed": listed,
        "listed_cpu": listed_cpu,
    }


def _timed(act: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of the clock and of the processor of a child process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    act()
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return seconds, user + system


def _keys(terminal: Terminal) -> dict[str, float]:
    """Measure the time from a key to the end of the next frame, in seconds."""
    times, cpu = [], terminal.cpu_seconds()
    for number in range(PRESSES):
        start = len(terminal.output)
        key = UP if number % 10 == 9 else DOWN
        pressed = terminal.press(key)
        painted = terminal.wait_for(re.escape(FRAME_END), start=start)
        times.append(painted - pressed)
        terminal.watch(PAUSE)
    used = (terminal.cpu_seconds() - cpu) / PRESSES
    return {"median": statistics.median(times), "slowest": max(times), "cpu": used}


def _idle(
    terminal: Terminal, seconds: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the idle share of each screen in percent, and the memory then in MiB.

    Args:
        terminal: the interface, with all runs listed.
        seconds: how long each screen is watched.
    """
    shares, memory = {}, {}
    for name, keys, text in SCREENS:
        start = len(terminal.output) if keys else 0
        for key in keys:
            terminal.press(key)
            # A lone escape is told from a control sequence by a pause.
            terminal.watch(PAUSE)
        terminal.wait_for(text, start=start)
        terminal.watch(SETTLE)
        began, before = time.perf_counter(), terminal.cpu_seconds()
        terminal.watch(seconds)
        used = terminal.cpu_seconds() - before
        shares[name] = 100 * used / (time.perf_counter() - began)
        memory[name] = terminal.memory()
    return shares, memory


def _shown(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value:.2f} s" if value >= 0.1 else f"{1e3 * value:.0f} ms"
    return f"{value:.1f} {unit}" if unit == "%" else f"{value:.0f} {unit}"
