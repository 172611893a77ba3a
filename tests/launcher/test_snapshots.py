"""Pictures of the main screens; `pytest --snapshot-update` accepts new ones."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from kmtard.runs import Run
from kmtard.runs.intact import CRC
from launcher.app import LauncherApp
from launcher.recipes import recipe_files
from tests.launcher.pilots import screen_text, until

BEGIN = 1_790_000_000.0  # a day in September 2026
SIZE = (80, 24)


@pytest.fixture
def runs_dir(
    make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Three runs that look the same on each day and machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recipe_files, "shipped_folder", lambda: tmp_path / "none")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    for number, state in enumerate(("finished", "stopped", "failed")):
        run = make_run(f"digits-b-mtard-{number}", state=state, done=4 - number)
        _set_clock(run, BEGIN + 1000 * number)
        run.log_path.write_text("run: runs/digits-b-mtard\nstudent  epoch 1/4\n")
    return Path("runs")


def _set_clock(run: Run, begin: float) -> None:
    lines = run.events_path.read_text().splitlines()
    # Their checksums are of the true times; without one, an event counts as it is.
    events = [json.loads(line) for line in lines]
    for event in events:
        event.pop(CRC, None)
    run.events_path.write_text(
        "".join(
            json.dumps({**event, "time": begin + 10 * number}) + "\n"
            for number, event in enumerate(events)
        )
    )
    run.info_path.write_text(json.dumps({**run.info(), "created": begin}))


def shows(text: str) -> Callable[[Pilot[None]], Any]:
    async def wait(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: text in screen_text(pilot))
        await pilot.app.workers.wait_for_complete()
        await pilot.pause(1.0)

    return wait


def test_runs(snap_compare: Any, runs_dir: Path) -> None:
    app = LauncherApp(runs_dir)
    assert snap_compare(app, terminal_size=SIZE, run_before=shows("stopped"))


def test_one_run(snap_compare: Any, runs_dir: Path) -> None:
    app = LauncherApp(runs_dir, attach=runs_dir / "digits-b-mtard-0")
    assert snap_compare(app, terminal_size=SIZE, run_before=shows("best epoch"))


def test_queue(snap_compare: Any, runs_dir: Path) -> None:
    async def go(pilot: Pilot[None]) -> None:
        await pilot.press("3")
        await shows("Nothing is queued")(pilot)

    app = LauncherApp(runs_dir)
    assert snap_compare(app, terminal_size=SIZE, run_before=go)


def test_recipes(snap_compare: Any, runs_dir: Path, recipe_path: Path) -> None:
    (runs_dir.parent / "my.toml").write_text(recipe_path.read_text())

    async def go(pilot: Pilot[None]) -> None:
        await shows("ready")(pilot)
        await pilot.press("f5")
        await shows("temperature_rate")(pilot)

    app = LauncherApp(runs_dir, recipes=[Path("my.toml")])
    assert snap_compare(app, terminal_size=SIZE, run_before=go)
