"""A replacement for `kmtard.fit` that writes finished runs without Keras."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmtard.runs.queue.queue import Queue
from tests.run_folders import RECIPE

ROOT = Path(__file__).parents[3]

# The method decides how a run ends: sat fails the first time, score never creates a
# run, and trades continues until it is asked to stop.
FIT = """
import argparse, json, os, signal, sys, time
from kmtard.commands.fit import run_name
from kmtard.recipe import foreign_reason, load
from kmtard.registry import modules
from kmtard.runs import EventWriter, Run
from tests.kmtard.runs.test_results import record

parser = argparse.ArgumentParser()
parser.add_argument("recipe", nargs="?")
parser.add_argument("--method")
parser.add_argument("--set", action="append", default=[])
parser.add_argument("--smoke", action="store_true")
parser.add_argument("--resume")
parser.add_argument("--trust", action="store_true")
parser.add_argument("--import", dest="imports", action="append", default=[])
given = parser.parse_args()
for module in given.imports:
    modules.allow(module)
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
if given.method == "score":
    sys.exit("no such luck")
if given.resume:
    run = Run.open(given.resume)
    run.claim({})
    recipe = load(run.recipe_path)
else:
    recipe = load(
        given.recipe,
        method=given.method,
        overrides=given.set,
        smoke=given.smoke,
        foreign=None if given.trust else foreign_reason(given.recipe),
    )
    name = run_name(recipe, given.recipe)
    run = Run.create(recipe.runtime.runs_dir, name, recipe.to_toml(), {})
events = EventWriter(run.events_path)
events.write("run_started", resumed=bool(given.resume))
if recipe.method.name == "sat" and not given.resume:
    events.write("run_failed", reason="no luck")
    sys.exit(1)
if recipe.method.name == "trades" and not given.resume:
    while not asked:
        time.sleep(0.02)
    events.write("run_stopped")
    sys.exit(0)
run.evaluation_path.write_text(json.dumps(record()))
events.write("run_finished", metrics={})
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A recipe in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.toml").write_text(RECIPE.read_text())
    return "a.toml"


@pytest.fixture
def stand_in(
    recipe: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Queue]:
    """Let the queue of the working folder run the replacement; return the queue."""
    del recipe
    folder = tmp_path_factory.mktemp("stand_in")
    (folder / "fit.py").write_text(FIT)
    shutil.copy(ROOT / "tests" / "stand_in" / "sitecustomize.py", folder)
    path = os.pathsep.join([str(folder), str(ROOT)])
    monkeypatch.setenv("PYTHONPATH", path)
    queue = Queue(tmp_path / "runs")
    yield queue
    for entry in queue.entries():
        if entry.is_alive:
            queue.kill(entry.id)
        elif not entry.is_ended:
            queue.remove(entry.id)
