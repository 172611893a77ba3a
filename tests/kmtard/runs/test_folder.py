"""Runs: folders are made with safe names, opened and listed."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import kmtard.runs
from kmtard.runs import (
    EventWriter,
    Run,
    RunError,
    list_runs,
    safe_name,
)
from kmtard.runs.processes import process_start_time

pytestmark = pytest.mark.once("torch")

ROOT = Path(kmtard.runs.__file__).parents[2]
DETAILS = {"backend": "jax", "versions": {"keras": "3.15.0"}}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path, "digits", "a = 1\n", DETAILS)


def test_create_makes_the_folder(tmp_path: Path) -> None:
    before = time.time()
    run = Run.create(tmp_path / "deep" / "runs", "digits", "a = 'ä'\n", DETAILS)
    assert run.path == tmp_path / "deep" / "runs" / "digits"
    assert run.name == "digits"
    assert run.recipe_path.read_text(encoding="utf-8").startswith("a = 'ä'\n# sha256")
    assert run.checkpoints.is_dir()
    assert run.best.is_dir()
    info = json.loads(run.info_path.read_text())
    assert before <= info["created"] <= time.time()
    assert info["pid"] == os.getpid()
    assert info["process_start"] == process_start_time(os.getpid())
    assert info["host"] == socket.gethostname()
    assert info["argv"] == sys.orig_argv
    assert info["versions"] == {"keras": "3.15.0"}
    assert info["backend"] == "jax"
    assert info["schema"] == 1
    assert {**run.info(), "crc32": info["crc32"]} == info


def test_the_paths_of_a_run() -> None:
    run = Run("runs/a")
    names = {
        "recipe_path": "recipe.toml",
        "info_path": "run.json",
        "events_path": "events.jsonl",
        "log_path": "out.log",
        "checkpoints": "checkpoints",
        "best": "best",
        "evaluation_path": "evaluation.json",
        "report": "report",
    }
    for attribute, name in names.items():
        assert getattr(run, attribute) == Path("runs/a") / name


def test_a_taken_name_gets_a_number(tmp_path: Path) -> None:
    (tmp_path / "digits").touch()  # a file takes the name as well
    names = [Run.create(tmp_path, "digits", "", {}).name for _ in range(2)]
    assert names == ["digits-2", "digits-3"]


def test_runs_made_at_once_get_folders_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(
            pool.map(lambda n: Run.create(tmp_path, "a", str(n), {}), range(16))
        )
    assert len({run.path for run in runs}) == 16
    texts = [run.recipe_path.read_text().split("\n")[0] for run in runs]
    assert texts == [*map(str, range(16))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("digits-b-mtard-20261124-103000", "digits-b-mtard-20261124-103000"),
        ("../x", "x"),
        ("/abs", "abs"),
        ("..", "run"),
        (".hidden", "hidden"),
        ("", "run"),
        ("///", "run"),
        ("a/b", "a-b"),
        ("a\\b c\n\x00d", "a-b-c-d"),
        ("--help", "help"),
        ("e=8/255", "e-8-255"),
        ("．．／x", "x"),  # full-width dots and slash are normalised first
        ("Prüfung-実験", "Prüfung-実験"),
        ("\udcff", "run"),
    ],
)
def test_safe_name(text: str, expected: str) -> None:
    assert safe_name(text) == expected
    assert safe_name(expected) == expected


@pytest.mark.parametrize("text", ["x" * 1000, "実" * 1000, "a" * 59 + "-" * 100 + "b"])
def test_a_long_name_is_cut_to_what_file_systems_take(
    tmp_path: Path, text: str
) -> None:
    name = safe_name(text)
    assert len(name) <= 60
    assert len(f"{name}-1000".encode()) < 255
    assert name[-1] not in ".-"
    assert Run.create(tmp_path, text, "", {}).name == name


@pytest.mark.parametrize("name", ["../x", "/abs", "", "a/b", "..", "x" * 400])
def test_a_run_does_not_leave_its_folder(tmp_path: Path, name: str) -> None:
    run = Run.create(tmp_path / "runs", name, "", {})
    assert run.path.resolve().parent == (tmp_path / "runs").resolve()
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"file: .*runtime\.runs_dir"):
        Run.create(tmp_path / "file", "digits", "", {})


def test_a_full_disk_at_creation_is_an_error_and_makes_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"run\.json: No space left"):
        Run.create(tmp_path, "digits", "", {})
    assert list_runs(tmp_path) == []


def test_open_wants_a_run(tmp_path: Path, run: Run) -> None:
    assert Run.open(run.path).info() == run.info()
    (tmp_path / "other").mkdir()
    for path in (tmp_path / "other", tmp_path / "missing", run.recipe_path):
        with pytest.raises(RunError, match=rf"recipe\.toml.*Received: {path}"):
            Run.open(path)


def test_events_reads_from_the_start(run: Run) -> None:
    EventWriter(run.events_path).write("run_started")
    EventWriter(run.events_path).write("epoch")
    run.state()
    names = [event["event"] for event in run.events().poll()]
    assert names == ["run_started", "epoch"]


def test_list_runs_is_newest_first_and_passes_over_the_rest(tmp_path: Path) -> None:
    for name, created in (("b", 200), ("a", 300), ("c", 100), ("z", "never")):
        run = Run.create(tmp_path, name, "", {})
        run.info_path.write_text(json.dumps({"created": created}))
    Run.create(tmp_path, "hidden", "", {}).path.rename(tmp_path / ".hidden")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "file.toml").touch()
    assert [run.name for run in list_runs(tmp_path)] == ["a", "b", "c", "z"]
    assert list_runs(tmp_path / "missing") == []
    assert list_runs(tmp_path / "file.toml") == []


def test_reading_runs_imports_nothing_heavy() -> None:
    heavy = ["keras", "tensorflow", "jax", "torch", "numpy", "psutil"]
    code = f"import sys, kmtard.runs; print(*set({heavy}) & set(sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert answer.stdout.strip() == ""
