"""The estimate of a study: runs, disk space and time, and what is unknown."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from kmtard.recipe.schema import Study
from kmtard.runs import EventWriter, Run
from kmtard.study import forecast as module
from kmtard.study.forecast import Forecast, forecast, size_text
from kmtard.study.grid import Cell, cells_of
from kmtard.study.measure import Measured, measured
from kmtard.study.progress import Status, missing_teachers
from tests.kmtard.conftest import RECIPE
from tests.kmtard.runs.test_results import record

pytestmark = pytest.mark.once("jax")

ROLES = ("student", "nat_teacher", "adv_teacher")


def known(seconds: dict[str, float] | None = None) -> Measured:
    return Measured(
        values=dict.fromkeys(ROLES, 10**6),
        trained=dict.fromkeys(ROLES, 9 * 10**5),
        seconds=seconds or {},
    )


def cells(recipe: str, *methods: str, seeds: tuple[int, ...] = (0,)) -> list[Cell]:
    return cells_of(recipe, Study(methods=methods, seeds=seeds))


def new(found: list[Cell]) -> list[Status]:
    return [Status(cell, "new") for cell in found]


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pretend that networks have a million values; list the recipes per call."""
    asked: list[int] = []

    def answer(
        recipes: list[object], *, trials: bool, imports: Sequence[str]
    ) -> list[Measured]:
        assert not imports
        asked.append(len(recipes))
        seconds = {"student": 60.0, "nat_teacher": 5.0, "adv_teacher": 7.0}
        return [known(seconds if trials else None) for _ in recipes]

    monkeypatch.setattr(module, "measured", answer)
    return asked


def test_runs_disk_and_teachers(recipe: str, sizes: list[int]) -> None:
    found = cells(recipe, "natural", "b_mtard", "mtard", seeds=(0, 1))
    told = forecast(new(found))
    # 3 networks of a run (two resume points and the best), with two velocities.
    training = 4 * (3 * 10**6 + 2 * 9 * 10**5)
    assert told.size == 6 * (training + 2**20) + 4 * (training + 4 * 10**6)
    assert (told.left, told.teachers, told.unknown) == (6, 4, 6)
    assert sizes == [2], "equal networks are built once"
    assert told.lines() == [
        "Runs to do: 6, and 4 teachers to train first",
        "Disk: about 214 MB",
        "Time, an estimate: unknown until the first runs finish; "
        "--dry-run=measure measures it",
    ]


def test_finished_cells_and_teachers_need_nothing(
    recipe: str, sizes: list[int]
) -> None:
    found = cells(recipe, "b_mtard", "mtard")
    for file in missing_teachers(found[0]):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    told = forecast([Status(found[0], "finished"), Status(found[1], "new")])
    assert (told.left, told.teachers) == (1, 0)
    done = forecast([Status(cell, "finished") for cell in found])
    assert done.lines() == ["Nothing is left to do."]


def test_trials_estimate_the_time(recipe: str, sizes: list[int]) -> None:
    told = forecast(new(cells(recipe, "b_mtard", "mtard", seeds=(0, 1))), trials=True)
    # Four students, and two teachers for each of two seeds.
    assert told.seconds == 4 * 60 + 2 * (5 + 7)
    assert told.unknown == 0
    assert sizes == [2], "seeds take equally long"
    assert told.lines()[-1] == "Time, an estimate: 4m 24s of work for 4 runs"


def test_finished_runs_estimate_the_time_without_their_teachers(
    recipe: str, sizes: list[int]
) -> None:
    found = cells(recipe, "b_mtard", "rslad", seeds=(0, 1))
    done = next(each for each in found if each.parts[0] == "b_mtard")
    run = Run.create("runs", "a", done.recipe.to_toml(), {})
    # The clean teacher takes 40 seconds, the student and the rest 60.
    clock = iter((1000.0, 1000.0, 1040.0, 1100.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kmtard.runs.events.time.time", lambda: next(clock))
        events = EventWriter(run.events_path)
        events.write("run_started")
        for phase in ("nat_teacher", "student"):
            events.write("phase_started", phase=phase, step=0, epochs=1)
        events.write("run_finished", metrics={})
    content = record()
    for network in content["networks"]:
        network["seconds"] = 40.0 if network["role"] == "nat_teacher" else None
    run.evaluation_path.write_text(json.dumps(content))
    left = [each for each in found if each is not done]
    told = forecast(new(left), [(done, run)])
    roles = [network["role"] for network in content["networks"]]
    student = 100.0 - 40.0 * roles.count("nat_teacher")
    teachers = 40.0 * roles.count("nat_teacher")  # of the other seed
    assert told.unknown == 2, "nothing is known of rslad"
    assert told.seconds == student + teachers
    assert "1 run, unknown for 2 runs and 2 teachers;" in told.lines()[-1]


def test_a_network_that_is_not_built_is_reported(recipe: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def net(num_classes, input_shape): ...\n")
    found = cells_of(
        recipe, Study(axes={"student.network": ["mine:net"]}, methods=("natural",))
    )
    told = forecast(new(found))
    assert told.size is None
    assert told.lines()[1] == (
        "Disk: unknown: student.network names your own code, which an estimate runs "
        "only with --trust"
    )


def test_code_that_is_trusted_is_built_with_what_is_imported(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("def net(num_classes, input_shape): ...\n")
    asked: list[dict[str, object]] = []

    def answer(recipes: list[object], **options: object) -> list[Measured]:
        asked.append(options)
        return [known() for _ in recipes]

    monkeypatch.setattr(module, "measured", answer)
    study = Study(axes={"student.network": ["mine:net"]}, methods=("natural",))
    found = cells_of(recipe, study, trust=True, imports=["other"])
    assert forecast(new(found)).size is not None
    assert asked == [{"trials": False, "imports": ("other",)}]


def test_sizes() -> None:
    assert [size_text(n) for n in (2e3, 47.8e6, 3.25e9, 1.2e12)] == [
        *("2 kB", "47.8 MB", "3.25 GB"),
        "1.2e+03 GB",
    ]
    assert Forecast(0, 0, 0, "", 0.0, 0).lines() == ["Nothing is left to do."]


@pytest.mark.slow
def test_the_estimate_matches_the_size_of_a_real_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = f'{RECIPE}\n[runtime]\nbackend = "jax"\n'
    # Large enough that the networks take most of the disk space.
    text = text.replace("width = 2", "width = 48").replace("width = 3", "width = 40")
    Path("tiny.toml").write_text(text)
    [cell] = cells_of("tiny.toml", Study())
    told = forecast([Status(cell, "new")])
    assert told.size is not None
    command = [sys.executable, "-m", "kmtard.fit", "tiny.toml"]
    subprocess.run(command, check=True, capture_output=True)
    there = sum(f.stat().st_size for f in Path("runs").rglob("*") if f.is_file())
    assert there / 1.3 < told.size - 2**20 < there * 1.3
    [answer] = measured([cell.recipe], trials=True)
    assert answer["values"].keys() == answer["seconds"].keys() == {*ROLES}
    assert all(seconds > 0 for seconds in answer["seconds"].values())
