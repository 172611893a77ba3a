from __future__ import annotations

import json
from contextlib import asynccontextmanager

import pytest
from textual.widgets import Input, Static

from launcher.app import LauncherApp
from launcher.screens.export import ExportScreen
from launcher.screens.report import ReportScreen
from launcher.settings import Settings
from tests.kmtard.runs.test_results import of_evaluation, of_training, record
from tests.launcher.pilots import until

pytestmark = pytest.mark.asyncio

FINDINGS = [{"name": "random", "message": "[b]it\x1b changes"}]


def evaluated():
    """Return a record whose texts try to be markup."""
    content = record()
    student = content["networks"][-1]
    student |= {"name": "[b]student", "findings": FINDINGS}
    return json.dumps(content)


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

        run.evaluation_path.write_text(json.dumps(of_training()))
        await until(pilot, lambda: shown(pilot)[0])
        assert shown(pilot)[0][-1] == [
            *("student", "75.00", "50.00", "75.00", "62.50", "3.5"),
        ]
        assert shown(pilot)[1] is None
        assert not pilot.app.screen.query_one("#empty").display


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"rows": 1}'])
async def test_a_damaged_file_is_said(show, make_run, content):
    run = make_run()
    run.evaluation_path.write_bytes(content)
    async with show(run) as pilot:
        assert "Expected an evaluation in" in text(pilot, "#empty")
        assert "Press e to evaluate again." in text(pilot, "#empty")


@pytest.mark.parametrize("size", [(120, 36), (80, 24), (60, 16), (40, 10)])
async def test_tables_and_warnings_are_shown(show, make_run, size):
    run = make_run()
    run.evaluation_path.write_text(evaluated())
    async with show(run, size) as pilot:
        networks, attacks = shown(pilot)
        assert [row[0] for row in networks] == ["clean teacher", "student"]
        assert [row[0] for row in attacks] == [
            *("clean", "pgd_trades", "fgsm", "worst case"),
        ]
        assert attacks[1][4] == "1"
        notes = text(pilot, "#notes")
        assert "random: [b]it� changes" in notes
        assert "[b]student on 4 images of digits (test)" in notes
        assert str(run.evaluation_path) in notes


async def test_the_table_with_the_cursor_is_written(show, make_run, tmp_path):
    run = make_run()
    run.evaluation_path.write_text(evaluated())
    async with show(run) as pilot:
        for keys, name in ((["x"], "networks.md"), (["tab", "x"], "attacks.tex")):
            await pilot.press(*keys)
            assert isinstance(pilot.app.screen, ExportScreen)
            pilot.app.screen.query_one(Input).value = str(tmp_path / name)
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(pilot.app.screen, ReportScreen))
        await pilot.press("escape")
        assert len(pilot.app.screen_stack) == 1

    markdown = (tmp_path / "networks.md").read_text()
    assert "W-Robust (pgd_trades)" in markdown
    assert "| student | 75.00 | 50.00 | 75.00 | 62.50 |" in markdown
    latex = (tmp_path / "attacks.tex").read_text()
    assert r"fgsm & 75.00 & 10.0-90.0 & 75.00 & 0" in latex


async def test_evaluations_of_version_0_1_and_those_under_other_conditions(
    show, make_run
):
    run = make_run()
    run.evaluation_path.write_text(json.dumps(of_training() | of_evaluation()))
    other = run.path / "evaluation" / "linf.json"
    other.parent.mkdir()
    other.write_text(evaluated())
    async with show(run, (120, 36)) as pilot:
        networks, attacks = shown(pilot)
        assert networks[-1][0] == "student"
        assert [row[0] for row in attacks][1:3] == ["square", "transfer"]
        assert str(other) in text(pilot, "#notes")
