"""A dry run: a process in the background, seen in a screen that can be left."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from textual.app import App
from textual.widgets import Log, Static

from kmtard.runs.processes import process_start_time
from launcher.recipes.dry_run import NICENESS, DryRun
from launcher.screens.dry_run import DryRunScreen

FOREVER = "import time\nprint('begun')\nwhile True: time.sleep(0.1)"


@contextmanager
def started(script: str) -> Iterator[DryRun]:
    command = [sys.executable, "-c", script]
    dry_run = DryRun(command, backend="torch", columns=70)
    try:
        yield dry_run
    finally:
        dry_run.close()
        wait_for(lambda: dry_run.exit_code is not None)


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_output_is_collected_line_by_line() -> None:
    script = (
        "import os, sys\n"
        "print(os.environ['KERAS_BACKEND'], os.environ['COLUMNS'])\n"
        "print('to the terminal', file=sys.stderr)\n"
        "print('10 %\\r20 %\\r30 %')\n"
        "sys.stdout.buffer.write(b'\\xff\\x1b[31mred')"
    )
    with started(script) as dry_run:
        wait_for(lambda: dry_run.exit_code is not None)
        assert dry_run.lines == [
            "torch 70",
            "to the terminal",
            "30 %",
            "\N{REPLACEMENT CHARACTER}\x1b[31mred",
        ]
        assert dry_run.state == "finished"


def test_the_first_lines_are_there_while_it_goes_on() -> None:
    with started(FOREVER) as dry_run:
        wait_for(lambda: dry_run.lines == ["begun"])
        assert dry_run.state == "running"


def test_it_leaves_the_processor_to_the_runs() -> None:
    with started("import os\nprint(os.getpid())\n" + FOREVER) as dry_run:
        wait_for(lambda: len(dry_run.lines) == 2)
        niceness = os.getpriority(os.PRIO_PROCESS, int(dry_run.lines[0]))
        assert niceness == min(os.nice(0) + NICENESS, 19)


@pytest.mark.parametrize(
    ("code", "state"), [(2, "the recipe has mistakes"), (1, "failed with exit code 1")]
)
def test_how_it_ended_is_said(code: int, state: str) -> None:
    with started(f"raise SystemExit({code})") as dry_run:
        wait_for(lambda: dry_run.exit_code is not None)
        assert dry_run.state.startswith(state)


def test_cancelling_asks_then_forces() -> None:
    deaf = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FOREVER
    with started(deaf) as dry_run:
        wait_for(lambda: dry_run.lines == ["begun"])
        dry_run.cancel()
        assert dry_run.state == "stopping"
        dry_run.cancel()
        wait_for(lambda: dry_run.exit_code == -signal.SIGKILL)
        assert dry_run.state == "stopped"


def test_closing_ends_its_children_too() -> None:
    family = (
        "import subprocess\nchild = subprocess.Popen(['sleep', '99'])\n"
        "print(child.pid)\n" + FOREVER
    )
    with started(family) as dry_run:
        wait_for(lambda: len(dry_run.lines) == 2)
        child = int(dry_run.lines[0])
        assert process_start_time(child) is not None
        dry_run.close()
        wait_for(lambda: process_start_time(child) is None)


def test_cancelling_what_has_ended_changes_nothing() -> None:
    with started("") as dry_run:
        wait_for(lambda: dry_run.exit_code is not None)
        dry_run.cancel()
        assert dry_run.state == "finished"


def test_what_cannot_be_started_is_an_error() -> None:
    with pytest.raises(OSError):
        DryRun(["/no/such/program"], backend="jax", columns=80)


def shown(app: App[None]) -> str:
    return "\n".join(app.screen.query_one(Log).lines)


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [(80, 24), (40, 10)])
async def test_the_screen_shows_output_as_text_and_can_be_left(
    size: tuple[int, int],
) -> None:
    script = "print('[bold]\\x1b[31m1,234 steps[/bold]')\n" + FOREVER
    asked = []
    with started(script) as dry_run:
        wait_for(lambda: len(dry_run.lines) == 2)
        app: App[None] = App()
        async with app.run_test(size=size) as pilot:
            screen = DryRunScreen(
                "digits", dry_run, "python -m x", lambda: asked.append(1)
            )
            await app.push_screen(screen)
            await pilot.pause()
            assert "[bold]\N{REPLACEMENT CHARACTER}[31m1,234 steps[/bold]" in shown(app)
            header = str(app.screen.query_one("#header", Static).render())
            assert "digits" in header
            assert "running" in header
            await pilot.press("r")  # not while it goes on
            await pilot.press("escape")
            assert app.screen is not screen
            assert dry_run.state == "running"
            again = DryRunScreen(
                "digits", dry_run, "python -m x", lambda: asked.append(1)
            )
            await app.push_screen(again)
            await pilot.pause()
            assert "begun" in shown(app)
            assert asked == []
            await pilot.press("ctrl+k")
            wait_for(lambda: dry_run.state == "stopped")
            again.refresh_bindings()
            await pilot.pause()
            await pilot.press("r")
            assert asked == [1]
