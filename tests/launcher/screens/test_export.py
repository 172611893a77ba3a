from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.widgets import Input, Static

from kmtard.runs import RunError
from launcher.app import LauncherApp
from launcher.screens.export import ExportScreen
from launcher.settings import Settings
from tests.launcher.pilots import until

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def typed(monkeypatch):
    monkeypatch.setattr(ExportScreen, "typed", {})


@pytest.fixture
def ask(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    @asynccontextmanager
    async def ask(write=lambda path: path.write_text("new"), size=(80, 24)):
        settings = Settings(tmp_path / "launch.json")
        app = LauncherApp(tmp_path / "runs", settings=settings)
        async with app.run_test(size=size) as pilot:
            app.push_screen(ExportScreen("table.csv", {".csv": write, ".md": write}))
            await pilot.pause()
            yield pilot

    return ask


def is_open(pilot):
    return isinstance(pilot.app.screen, ExportScreen)


def field(pilot):
    return pilot.app.screen.query_one(Input)


def said(pilot):
    return pilot.app.screen.query_one("#said", Static).content.plain


async def give(pilot, path):
    field(pilot).value = str(path)
    await pilot.pause()
    await pilot.press("enter")


async def test_a_new_file_is_written_at_once(ask, tmp_path):
    async with ask() as pilot:
        assert field(pilot).value == str(tmp_path / "table.csv")
        await pilot.press("enter")
        await until(pilot, lambda: not is_open(pilot))
        assert pilot.app.settings.get("export.folder", "") == str(tmp_path)

    assert (tmp_path / "table.csv").read_text() == "new"


async def test_a_file_that_exists_is_asked_about(ask, tmp_path):
    path = tmp_path / "[b]old.MD"
    path.write_text("old")
    async with ask() as pilot:
        await give(pilot, path)
        assert said(pilot) == f"{path} exists. Press Enter again to overwrite it."
        assert path.read_text() == "old"
        await give(pilot, tmp_path / "table.csv")
        await until(pilot, lambda: not is_open(pilot))
        pilot.app.push_screen(ExportScreen("table.csv", {".md": Path.touch}))
        await pilot.pause()
    async with ask() as pilot:
        await give(pilot, path)
        await pilot.press("enter")
        await until(pilot, lambda: not is_open(pilot))

    assert path.read_text() == "new"


async def test_a_missing_folder_is_made_when_asked_for(ask, tmp_path):
    path = tmp_path / "a" / "b" / "table.csv"
    async with ask() as pilot:
        await give(pilot, "a/b/table.csv")
        assert (
            said(pilot)
            == f"{path.parent} does not exist. Press Enter again to create it."
        )
        assert not path.parent.exists()
        await pilot.press("enter")
        await until(pilot, lambda: not is_open(pilot))

    assert path.read_text() == "new"


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("table.txt", "Expected a name that ends with .csv, .md."),
        ("", "Expected a name that ends with .csv, .md."),
        ("folder.csv", "is a folder."),
        ("~nobody-of-this-name/x.csv", "Expected the path of a file"),
        ("x" * 300 + ".csv", "Expected the path of a file: "),
        ("file/x.csv", "file is not a folder."),
    ],
)
async def test_a_path_that_will_not_do_stays_to_be_mended(ask, tmp_path, typed, reason):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").write_text("")
    async with ask() as pilot:
        await give(pilot, typed)
        await pilot.press("enter")
        await until(pilot, lambda: reason in said(pilot))
        assert field(pilot).value == typed
        assert is_open(pilot)
        await until(pilot, lambda: not field(pilot).disabled)


async def test_a_folder_that_cannot_be_made_is_said(ask, tmp_path):
    (tmp_path / "file").write_text("")
    async with ask() as pilot:
        await give(pilot, "file/new/table.csv")
        await pilot.press("enter")
        await until(pilot, lambda: "Not a directory." in said(pilot))
        assert (field(pilot).value, is_open(pilot)) == ("file/new/table.csv", True)


async def test_a_full_disk_is_said_and_nothing_typed_is_lost(ask, tmp_path):
    def fail(path):
        raise RunError("Cannot write [b]x: No space left on device.")

    async with ask(fail) as pilot:
        await give(pilot, "mine.csv")
        await until(pilot, lambda: "No space left" in said(pilot))
        assert (field(pilot).value, is_open(pilot)) == ("mine.csv", True)
        assert pilot.app.focused is field(pilot)
        await pilot.press("escape")
        assert not is_open(pilot)
        pilot.app.push_screen(ExportScreen("table.csv", {".csv": fail}))
        await pilot.pause()
        assert field(pilot).value == "mine.csv"


@pytest.mark.parametrize("size", [(120, 36), (40, 10)])
async def test_it_fits_every_size(ask, size):
    async with ask(size=size) as pilot:
        region = field(pilot).region
        assert region.width > 20
        assert region.bottom < size[1]
