from __future__ import annotations

import json
from contextlib import asynccontextmanager

import pytest
from textual.widgets import Input, Static

from launcher.app import LauncherApp
from launcher.screens.export import ExportScreen
from launcher.screens.report import ReportScreen
from launcher.settings import Settings
from tests.launcher.pilots import until

pytestmark = pytest.mark.asyncio

NETWORK = {
    "role": "student",
    "clean_accuracy": 0.98,
    "robust_accuracy": {"pgd_trades": 0.75},
    "w_robust_accuracy": {"pgd_trades": 0.865},
}
COLUMN = {"accuracy": 0.5, "w_robust_accuracy": 0.7, "correct": 50}
SUITE = {
    "clean": {**COLUMN, "accuracy": 0.9, "correct": 90},
    "attacks": {"fgsm": COLUMN},
    "model": "[b]runs/x",
    "warnings": [{"name": "random", "message": "[b]it\x1b changes"}],
}


@pytest.fixture
def show(tmp_path):
    @asynccontextmanager
    async def show(run, size=(80, 24)):
        settings = Settings(tmp_path / "launch.json")
        app = LauncherApp(tmp_path / "runs", settings=settings)
        async with app.run_test(size=size) as pilot:
            screen = ReportScreen(run)
            app.push_screen(screen)
            await until(pilot, lambda: screen._content is not None)
            yield pilot

    return show


def text(pilot, name):
    return pilot.app.screen.query_one(name, Static).content.plain


def shown(pilot):
    screen = pilot.app.screen
    found = [screen.query_one(name) for name in ("#networks", "#attacks")]
    return [table.shown.rows if table.display else None for table in found]


async def test_a_run_that_was_not_judged_says_what_to_do(show, make_run):
    run = make_run(state="running")
    async with show(run) as pilot:
        assert "press e to evaluate" in text(pilot, "#empty")
        assert shown(pilot) == [None, None]
        await pilot.press("x")
        assert isinstance(pilot.app.screen, ReportScreen)

        run.evaluation_path.write_text(json.dumps({"rows": [NETWORK]}))
        await until(pilot, lambda: shown(pilot)[0])
        assert shown(pilot)[0] == [["student", "98.00", "75.00", "86.50", "-"]]
        assert not pilot.app.screen.query_one("#empty").display


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"rows": 1}'])
async def test_a_damaged_file_is_said(show, make_run, content):
    run = make_run()
    run.evaluation_path.write_bytes(content)
    async with show(run) as pilot:
        assert "cannot be read as an evaluation" in text(pilot, "#empty")


@pytest.mark.parametrize("size", [(120, 36), (80, 24), (60, 16), (40, 10)])
async def test_tables_and_warnings_are_shown(show, make_run, size):
    run = make_run()
    run.evaluation_path.write_text(json.dumps({"rows": [NETWORK], **SUITE}))
    async with show(run, size) as pilot:
        networks, attacks = shown(pilot)
        assert networks[0][:2] == ["student", "98.00"]
        assert [row[0] for row in attacks] == ["clean", "fgsm"]
        assert attacks[1][4] == "40"
        notes = text(pilot, "#notes")
        assert "random: [b]it� changes" in notes
        assert "[b]runs/x" in notes
        assert str(run.evaluation_path) in notes


async def test_the_table_with_the_cursor_is_written(show, make_run, tmp_path):
    run = make_run()
    run.evaluation_path.write_text(json.dumps({"rows": [NETWORK], **SUITE}))
    async with show(run) as pilot:
        for keys, name in ((["x"], "networks.md"), (["tab", "x"], "attacks.tex")):
            await pilot.press(*keys)
            assert isinstance(pilot.app.screen, ExportScreen)
            pilot.app.screen.query_one(Input).value = str(tmp_path / name)
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(pilot.app.screen, ReportScreen))
        await pilot.press("escape")
        assert len(pilot.app.screen_stack) == 1

    assert "| student | 98.00 | 75.00 |" in (tmp_path / "networks.md").read_text()
    assert r"fgsm & 50.00 & - & 70.00 & 40" in (tmp_path / "attacks.tex").read_text()
