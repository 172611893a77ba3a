"""Make the pictures of the terminal interface for README and docs.

`python docs/make_screens.py runs` writes docs/screens/*.svg. Give a relative path, so
that the pictures do not show the names of your folders.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from textual.pilot import Pilot

from kmtard.runs import list_runs
from launcher.app import LauncherApp
from launcher.screens.sweep import SweepScreen
from launcher.settings import Settings

SIZE = (110, 32)
FOLDER = Path(__file__).absolute().parent / "screens"
FONTS = "DejaVu Sans Mono, Menlo, Consolas"
# A reader's browser would load these fonts from another host.
REMOTE_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


async def make(runs_dir: Path) -> None:
    """Open the main screens one after the other and save a picture of each."""
    with tempfile.TemporaryDirectory() as state:
        settings = Settings(Path(state) / "launch.json")
        runs = list_runs(runs_dir)
        balanced = next(run for run in runs if "b_mtard" in run.name)
        app = LauncherApp(runs_dir, settings=settings)
        async with app.run_test(size=SIZE) as pilot:
            await _settle(pilot)
            _take(app, "runs")
            app.open_run(balanced.path)
            await _settle(pilot)
            _take(app, "live")
            await pilot.press("i")
            await _settle(pilot)
            # An image that the attack broke, chosen by its class.
            await pilot.press("b", "n")
            await _settle(pilot)
            _take(app, "robustness")
            await pilot.press("escape", "escape")
            app.compare(runs[:6])
            await _settle(pilot)
            _take(app, "compare")
            await pilot.press("escape", "2")
            await _settle(pilot)
            await _take_sweep(app, pilot)
            await pilot.press("escape", "f5")
            await _settle(pilot)
            _take(app, "recipes")
            for record in sorted(runs_dir.glob("studies/*/study.json"))[:1]:
                await pilot.press("1", "slash", *f"study:{record.parent.name}")
                await pilot.press("enter", "g", "enter")
                await _settle(pilot)
                _take(app, "study")


async def _take_sweep(app: LauncherApp, pilot: Pilot[None]) -> None:
    """Save a picture of the dialog for a study, once its plan is there."""
    await pilot.press("f10")
    # Its worker goes on as long as the dialog is open: `_settle` would not return.
    while not isinstance(screen := app.screen, SweepScreen):
        await pilot.pause(0.3)
    await pilot.press("down", "space", "down", "space", "tab", "down", "space")
    while not screen.plan.needs:
        await pilot.pause(0.3)
    _take(app, "sweep")


async def _settle(pilot: Pilot[None]) -> None:
    for _ in range(8):
        await pilot.app.workers.wait_for_complete()
        await pilot.pause(0.3)


def _take(app: LauncherApp, name: str) -> None:
    svg = REMOTE_FONTS.sub("", app.export_screenshot(title="kmtard-launch"))
    # All of these have the blocks and lines of the plots, in the width of the letters.
    svg = svg.replace("Fira Code", FONTS)
    (FOLDER / f"{name}.svg").write_text(svg)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    (runs_dir,) = sys.argv[1:] if argv is None else argv
    FOLDER.mkdir(exist_ok=True)
    asyncio.run(make(Path(runs_dir)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
