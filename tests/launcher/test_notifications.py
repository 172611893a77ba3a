"""Telling that a run has ended: by bell, terminal, desktop and the user's command."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kmtard.runs import EventWriter, Run
from kmtard.runs.summary import Summary
from launcher import notifications
from launcher.app import LauncherApp
from launcher.notifications import Ways, execute, filled, has_desktop, osc, read_ways
from launcher.settings import Settings, config_dir
from tests.launcher.pilots import until

PYTHON = sys.executable


def write_config(text: str) -> Path:
    config_dir().mkdir(parents=True, exist_ok=True)
    path = config_dir() / "launcher.toml"
    path.write_text(text)
    return path


@pytest.fixture(autouse=True)
def no_desktop(monkeypatch):
    for name in notifications.DESKTOPS:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("text", "ways"),
    [
        ("", Ways()),
        ("[notify]\nbell = false", Ways(bell=False)),
        (
            '[notify]\ndesktop = false\nterminal = false\ncommand = ["say", "{text}"]',
            Ways(desktop=False, terminal=False, command=("say", "{text}")),
        ),
    ],
)
def test_the_file_says_how(text, ways):
    assert read_ways(write_config(text)) == ways
    assert read_ways(config_dir() / "none.toml") == Ways()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[notify", "expected a readable TOML file"),
        ("notify = 3", "expected a table [notify], received 3"),
        ('[notify]\nbell = "yes"', "notify.bell: expected true or false"),
        ('[notify]\ncommand = "say"', "notify.command: expected a list of strings"),
        ("[notify]\nbel = true", "no such key; there are bell, terminal, desktop"),
    ],
)
def test_mistakes_are_said_and_ignored(text, said):
    ways = read_ways(write_config(text))
    assert (ways.bell, ways.command) == (True, ())
    assert said in ways.mistakes[0]


def test_the_terminal_gets_no_sequence_from_a_name():
    text = osc("a;b")
    assert text == "\x1b]9;kmtard: a,b\x07\x1b]777;notify;kmtard;a,b\x07"


def test_a_command_gets_facts_as_they_are(tmp_path):
    run = Summary(Run(tmp_path / "$(touch x)"), "failed", note="no `luck`\x1b[31m")
    command = [PYTHON, "-c", WRITE, str(tmp_path / "out"), "{name}|{state}|{text}"]
    assert execute(filled(command, run), run) == ""
    words = (tmp_path / "out").read_text().split("\n")
    assert words[0] == "$(touch x)|failed|$(touch x) failed: no `luck`�[31m"
    assert words[1] == str(tmp_path / "$(touch x)")


WRITE = (
    "import os, sys; open(sys.argv[1], 'w').write("
    "sys.argv[2] + chr(10) + os.environ['KMTARD_PATH'])"
)


def test_a_command_that_fails_says_why(monkeypatch):
    assert execute(["/no/such/command"]) == (
        "/no/such/command: No such file or directory"
    )
    said = execute([PYTHON, "-c", "import sys; sys.exit('no luck')"])
    assert said == f"{PYTHON} ended with code 1: no luck"
    monkeypatch.setattr(notifications, "PATIENCE", 0.1)
    assert "took more than" in execute([PYTHON, "-c", "import time; time.sleep(20)"])
    assert execute(["a\0b"]).startswith("a\0b: ")


def test_a_desktop_needs_notify_send(monkeypatch, tmp_path):
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not has_desktop()
    (tmp_path / "notify-send").write_text("#!/bin/sh\n")
    (tmp_path / "notify-send").chmod(0o755)
    assert has_desktop()
    monkeypatch.delenv("DISPLAY")
    assert not has_desktop()


@pytest.mark.asyncio
async def test_a_run_that_ends_is_told_on_every_screen(make_run, tmp_path, monkeypatch):
    out = tmp_path / "out"
    command = [PYTHON, "-c", WRITE, str(out), "{text}"]
    write_config(f"[notify]\ncommand = {command}\n")
    monkeypatch.setattr(notifications, "PAUSE", 0.05)
    run = make_run("a", state="running")
    app = LauncherApp(tmp_path / "runs", settings=Settings(tmp_path / "launch.json"))
    async with app.run_test() as pilot:
        bells, written = [], []
        monkeypatch.setattr(app, "bell", lambda: bells.append(1))
        monkeypatch.setattr(app, "write_to_terminal", written.append)
        await pilot.press("3")
        await pilot.pause(0.5)
        assert not bells and not out.exists()
        EventWriter(run.events_path).write("run_failed", reason="[b]no[/b] luck")
        await until(pilot, out.exists)
        await until(pilot, lambda: out.read_text().endswith(str(run.path)))

        assert bells == [1]
        assert written == [osc("a failed: [b]no[/b] luck")]
        assert out.read_text().startswith("a failed: [b]no[/b] luck\n")
        assert any(
            note.message == "a failed: [b]no[/b] luck" and note.severity == "error"
            for note in app._notifications
        )


@pytest.mark.asyncio
async def test_a_recipe_or_run_names_no_command(make_run, tmp_path, monkeypatch):
    monkeypatch.setattr(notifications, "PAUSE", 0.05)
    recipe = '[notify]\ncommand = ["touch", "x"]\n'
    run = make_run("a", state="running", recipe=recipe, notify={"command": ["touch"]})
    (run.path / "launcher.toml").write_text(recipe)
    (tmp_path / "runs" / "launcher.toml").write_text(recipe)
    ran = []
    monkeypatch.setattr(notifications, "execute", lambda *call: ran.append(call) or "")
    app = LauncherApp(tmp_path / "runs", settings=Settings(tmp_path / "launch.json"))
    async with app.run_test() as pilot:
        await pilot.pause(0.5)
        EventWriter(run.events_path).write("run_finished")
        await until(pilot, lambda: app._notifications)
        await pilot.pause()
        assert ran == []
