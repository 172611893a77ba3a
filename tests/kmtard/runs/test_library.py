from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from kmtard.runs import RunError
from kmtard.runs.library import Library

pytestmark = pytest.mark.once("torch")


@pytest.fixture
def runs_dir(tmp_path):
    return tmp_path / "runs"


def names(library):
    return [row.name for row in library.scan()]


def test_runs_appear_and_vanish_newest_first(make_run, runs_dir):
    library = Library(runs_dir)
    assert names(library) == []

    first = make_run("first")
    assert names(library) == ["first"]
    make_run("second")
    (runs_dir / "teachers").mkdir()
    (runs_dir / "file").write_text("")
    shutil.copytree(first.path, runs_dir / ".trash")
    assert names(library) == ["second", "first"]

    shutil.rmtree(first.path)
    assert names(library) == ["second"]


def test_a_row_stays_the_same_while_its_run_does(make_run, runs_dir):
    make_run()
    library = Library(runs_dir)

    assert library.scan()[0] is library.scan()[0]


def test_a_look_tells_of_the_queue(runs_dir):
    states = ("waiting", "failed", "running", "waiting")
    entries = [SimpleNamespace(state=each, task=None, run=None) for each in states]

    scan = Library(runs_dir).look(SimpleNamespace(entries=lambda: entries))

    assert (scan.rows, scan.problem) == ([], "")
    assert scan.queue == "1 running, 2 waiting"


def test_what_is_wrong_with_folder_or_queue_is_no_traceback(runs_dir):
    def damaged():
        raise RunError("damaged")

    runs_dir.write_text("a file")
    scan = Library(runs_dir).look(SimpleNamespace(entries=damaged))

    assert scan.problem == f"Cannot read {runs_dir}: Not a directory."
    assert (scan.rows, scan.queue) == ([], "")
