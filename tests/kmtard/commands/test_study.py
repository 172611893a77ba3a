"""`kmtard study`: from a grid to its table, also after it was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Its first import closes the handlers of all logging: within a test, absl's one would
# close the standard error that pytest captures.
import submitit  # noqa: F401

from kmtard.commands.study import main
from kmtard.registry import modules
from kmtard.runs import Run, list_runs
from kmtard.runs.queue.queue import Queue
from kmtard.runs.studies import StudyFolder
from kmtard.study import conduct, forecast, slurm
from kmtard.study.measure import Measured
from tests.kmtard.conftest import RECIPE, ROOT
from tests.kmtard.study.conftest import recipe, stand_in
from tests.launcher.engine_fixtures import until
from tests.run_folders import RECIPE as RECIPE_FILE

__all__ = ["recipe", "stand_in"]

pytestmark = pytest.mark.once("torch")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build no networks, and look often."""
    known = Measured(
        values={"student": 1000, "nat_teacher": 1000, "adv_teacher": 1000},
        trained={"student": 900, "nat_teacher": 900, "adv_teacher": 900},
        seconds={},
    )
    monkeypatch.setattr(
        forecast, "measured", lambda recipes, **options: [known] * len(recipes)
    )
    monkeypatch.setattr(conduct, "PAUSE", 0.05)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    return out + err


def test_a_failed_cell_stops_no_other_and_the_same_command_continues(
    stand_in: Queue, quick: None, recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [recipe, "--methods", "natural,sat,score", "--seeds", "0,1", "--jobs", "3"]
    assert main(words) == 1
    text = said(capsys)
    assert "6 runs (6 new)" in text
    assert "failed: sat,s0 (runs/sat-s0-" in text
    assert "): no luck" in text
    assert "failed: score,s1: no such luck" in text
    assert "Not finished: 4 of 6 cells." in text
    assert len(list_runs("runs")) == 4
    assert main(words) == 1
    text = said(capsys)
    assert "6 runs (2 finished, 4 failed)" in text
    assert "Not finished: 2 of 6 cells." in text
    runs = list_runs("runs")
    assert len(runs) == 4, "failed runs are resumed, not started again"
    assert {run.state() for run in runs} == {"finished"}
    [folder] = Path("runs/studies").glob("a-*")
    study = StudyFolder(folder)
    assert [cell.run is None for cell in study.read().cells] == [
        *(False, False, True),
        *(False, False, True),
    ]
    assert (folder / "table.md").read_text().count("| 2 |") == 2
    assert (folder / "table.csv").exists()


def test_a_study_that_is_done_starts_nothing(
    stand_in: Queue, quick: None, recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [recipe, "--methods", "natural,ard", "--jobs", "2"]
    assert main(words) == 0
    first = said(capsys)
    entries = stand_in.entries()
    assert main(words) == 0
    text = said(capsys)
    assert "Nothing is left to do." in text
    assert text[text.index("method") :] == first[first.index("method") :]
    assert stand_in.entries() == entries
    assert main([*words, "--rerun", "--only", "ard"]) == 0
    names = sorted(run.name for run in list_runs("runs"))
    assert [name.partition("-")[0] for name in names] == ["ard", "ard", "natural"]
    assert names[1] == f"{names[0]}-2"


def test_only_some_cells(
    stand_in: Queue, quick: None, recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [recipe, "--methods", "natural,ard", "--seeds", "0-1", "--jobs", "2"]
    assert main([*words, "--only", "ard", "--only", "s1"]) == 0
    assert len(list_runs("runs")) == 3
    assert "3 runs (3 new)" in said(capsys)
    assert main(words) == 0
    assert "(1 new, 3 finished)" in said(capsys)
    assert len(list_runs("runs")) == 4
    assert len(list(Path("runs/studies").glob("a-*"))) == 1


METHOD = """
from kmtard.methods import Natural

class Method(Natural): ...
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on Python's path, outside the working folder, with a method."""
    folder = tmp_path.parent / f"{tmp_path.name}-library"
    folder.mkdir()
    (folder / "own_parts.py").write_text(f"{METHOD}\nopen('imported', 'w')\n")
    monkeypatch.setenv("PYTHONPATH", f"{os.environ['PYTHONPATH']}:{folder}")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(modules, "_given", {})
    return folder


def with_method(path: Path, name: str) -> str:
    """Write a recipe whose method is code, and return its path."""
    text = RECIPE_FILE.read_text()
    path.write_text(text.replace('name = "b_mtard"', f'name = "{name}"', 1))
    assert path.read_text() != text
    return str(path)


def test_code_of_a_module_elsewhere_runs_where_the_user_imports_it(
    stand_in: Queue, quick: None, library: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [with_method(Path("own.toml"), "own_parts:Method"), "--seeds", "0,1"]
    assert main(words) == 2
    assert "--import own_parts" in said(capsys)
    assert sorted(os.listdir()) == ["a.toml", "own.toml"], "nothing was started"
    granted = [*words, "--jobs", "2", "--import", "own_parts"]
    assert main(granted) == 0
    assert {each.task.imports for each in stand_in.entries() if each.task} == {
        ("own_parts",)
    }
    assert all(map(stand_in.is_own, stand_in.entries()))
    assert {run.state() for run in list_runs("runs")} == {"finished"}
    [folder] = map(StudyFolder, Path("runs/studies").glob("own-*"))
    record = folder.read()
    assert folder.is_own(record)
    assert record.task is not None
    assert record.task.command()[3:] == granted
    # Called again, it recognizes runs whose recipes name the code.
    assert main(granted) == 0
    assert "Nothing is left to do." in said(capsys)
    # Nothing of a run allows code: without the option, it is refused again.
    modules._given.clear()
    assert main(words) == 2
    assert not Path("imported").exists()


def test_a_strangers_recipe_that_names_code_runs_with_trust_alone(
    stand_in: Queue,
    quick: None,
    library: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "own_parts.py").write_text(METHOD)
    foreign = with_method(library / "foreign.toml", "own_parts:Method")
    words = [foreign, "--set", "runtime.runs_dir=runs"]
    for refused in (words, [*words, "--import", "own_parts"], [*words, "--dry-run"]):
        assert main(refused) == 2
        assert "give --trust" in said(capsys)
        assert sorted(os.listdir()) == ["a.toml", "own_parts.py"]
    assert main([*words, "--trust"]) == 0
    [entry] = stand_in.entries()
    assert entry.task is not None and entry.task.trust
    assert stand_in.is_own(entry)
    [run] = list_runs("runs")
    assert run.state() == "finished"
    # Its study is trusted with what the user said, and with nothing once it changed.
    [folder] = map(StudyFolder, Path("runs/studies").glob("foreign-*"))
    record = folder.read()
    assert folder.is_own(record) and record.task is not None and record.task.trust


def test_a_plan_is_written_for_programs(
    quick: None, recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [recipe, "--methods", "sat,ard", "--seeds", "0,1"]
    assert main([*words, "--dry-run", "--json"]) == 0
    cells, needs = map(json.loads, said(capsys).splitlines())
    assert cells["study"].startswith("a-study-")
    assert [cell["name"] for cell in cells["cells"]] == [
        *("sat,s0", "ard,s0", "sat,s1", "ard,s1")
    ]
    assert {cell["state"] for cell in cells["cells"]} == {"new"}
    assert (needs["left"], needs["teachers"], needs["seconds"]) == (4, 2, None)
    assert needs["bytes"] > 0
    assert needs["lines"][2] == (
        "Time, an estimate: unknown until the first runs finish"
    )
    assert main([*words, "--json"]) == 2
    assert "--json: expected --dry-run" in said(capsys)
    assert os.listdir() == ["a.toml"]


def test_a_dry_run_writes_nothing(
    quick: None, recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([recipe, "ablation", "--seeds", "0-2", "--dry-run"]) == 0
    text = said(capsys)
    assert "baseline_ebb,s2" in text
    assert "12 runs (12 new)" in text
    assert "Runs to do: 12, and 6 teachers to train first" in text
    assert "Disk: about" in text and "unknown until the first runs finish" in text
    assert os.listdir() == ["a.toml"]


def test_a_stopped_cell_is_reported_and_resumed(
    stand_in: Queue, quick: None, recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [recipe, "--methods", "trades"]
    command = [sys.executable, "-c", QUICK, *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    until(lambda: any(list(run.events().poll()) for run in list_runs("runs")))
    [entry] = stand_in.entries()
    stand_in.stop(entry.id)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "stopped: trades,s0" in out
    assert main(words) == 0
    [run] = list_runs("runs")
    assert run.state() == "finished"


def test_two_calls_at_the_same_time_start_each_run_once(
    stand_in: Queue, recipe: str
) -> None:
    words = [recipe, "--methods", "natural,ard", "--jobs", "2"]
    command = [sys.executable, "-c", QUICK, *words]
    calls = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for call in calls:
        out, _ = call.communicate(timeout=60)
        assert call.returncode == 0, out
        assert "table: " in out
    assert len(stand_in.entries()) == len(list_runs("runs")) == 2


def test_ctrl_c_leaves_the_runs_alone(
    stand_in: Queue,
    quick: None,
    recipe: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(conduct.time, "sleep", interrupt)
        assert main([recipe, "--methods", "natural"]) == 130
    assert "continues without this command" in said(capsys)
    until(lambda: {e.state for e in stand_in.entries()} == {"finished"})


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["tabel3"], ["Did you mean table3?"]),
        (["--only", "trade"], ["--only", "'trade'"]),
        (["--axis", "attack.steps"], ["--axis", "KEY=VALUE"]),
        (["--axis", "attack.stesp=1"], ["attack.stesp", "steps"]),
        (["--methods", "tradse"], ["tradse", "trades"]),
        (["--jobs", "0"], ["--jobs"]),
        (["--on", "slurm", "--jobs", "2"], ["--jobs"]),
        (["--set", "a.b=1"], ["a"]),
    ],
)
def test_wrong_command_lines_start_nothing(
    recipe: str, capsys: pytest.CaptureFixture[str], words: list[str], parts: list[str]
) -> None:
    assert main([recipe, *words]) == 2
    text = said(capsys)
    for part in parts:
        assert part in text
    assert "Traceback" not in text
    assert os.listdir() == ["a.toml"]


def test_missing_weights_start_nothing(
    quick: None, recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    setting = "nat_teacher={network='small_cnn', weights='no.pt'}"
    assert main([recipe, "--set", setting]) == 2
    assert "expected this file" in said(capsys)
    assert os.listdir() == ["a.toml"]


def test_missing_slurm_is_reported(
    quick: None,
    recipe: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main([recipe, "--on", "slurm"]) == 1
    assert "SLURM does not answer `squeue" in said(capsys)
    monkeypatch.setattr(slurm, "listed_jobs", dict)
    assert main([recipe, "--on", "slurm"]) == 1
    assert "sbatch" in said(capsys)
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert main([recipe, "--on", "slurm"]) == 1
    assert "pip install 'kmtard[slurm]'" in said(capsys)


STUDY = """
[runtime]
backend = "jax"

[study]
methods = {}
seeds = {}
"""


# The command, without building networks to estimate the size of the study.
QUICK = """
import sys
from kmtard.commands.study import main
from kmtard.runs import RunError
from kmtard.study import forecast

def not_built(cells, trials):
    raise RunError("not built")

forecast._measured = not_built
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_code_of_the_users_own_is_really_trained(tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "own_parts.py").write_text(METHOD)
    work = tmp_path / "work"
    work.mkdir()
    (work / "tiny.toml").write_text(RECIPE)
    words = ["tiny.toml", "--methods", "own_parts:Method", "--import", "own_parts"]
    done = subprocess.run(
        [sys.executable, "-m", "kmtard.study", *words],
        cwd=work,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{library}"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [run] = list_runs(work / "runs")
    assert run.state() == "finished"
    assert 'name = "own_parts:Method"' in run.recipe_path.read_text()


class Real:
    """The command in its own process, with a tiny recipe that really trains."""

    def __init__(self, folder: Path, methods: list[str], seeds: list[int]) -> None:
        self.folder = folder
        folder.mkdir()
        text = RECIPE + STUDY.format(methods, seeds)
        (folder / "tiny.toml").write_text(text.replace("epochs = 3\n", "epochs = 8\n"))
        self.queue = Queue(folder / "runs")

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", QUICK, "tiny.toml", "--jobs", "2"],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self) -> str:
        process = self.start()
        text, _ = process.communicate(timeout=600)
        assert process.returncode == 0, text
        return text

    def runs(self) -> dict[str, Run]:
        return {run.name: run for run in list_runs(self.folder / "runs")}

    def kill_all(self) -> None:
        """Kill the runner and the runs, as when the machine goes down."""
        runner = self.queue.runner()
        if runner is not None and runner.is_alive:
            os.kill(runner.pid, signal.SIGKILL)
            until(lambda: not self.queue.runner_alive())
        for entry in self.queue.entries():
            if entry.is_alive and entry.pid is not None:
                os.killpg(entry.pid, signal.SIGKILL)

    def best(self) -> list[Path]:
        """The best networks of all runs."""
        return [file for run in self.runs().values() for file in run.best.iterdir()]

    def has_trained(self, epochs: int) -> bool:
        """Whether a student has trained at least this number of epochs."""
        return any(
            event.get("phase") == "student" and event["event"] == "epoch"
            and event["epoch"] >= epochs
            for run in self.runs().values()
            for event in run.events().poll()
        )  # fmt: skip


def test_killed_in_an_epoch_and_called_again(tmp_path: Path) -> None:
    study = Real(tmp_path / "killed", ["natural"], [0])
    first = study.start()
    until(lambda: study.has_trained(2), 120)
    first.kill()
    study.kill_all()
    first.communicate()
    text = study.finish()
    assert "1 run (1 crashed)" in text or "1 run (1 finished)" in text
    [run] = study.runs().values()
    assert run.state() == "finished"
    assert "1 of 1 finished" in text or "Nothing is left" in text


@pytest.mark.slow
def test_a_repeatedly_killed_study_ends_like_an_unbroken_one(tmp_path: Path) -> None:
    from tests.kmtard.training.test_resume import facts  # loads Keras

    whole = Real(tmp_path / "whole", ["b_mtard", "rslad", "natural"], [0, 1])
    whole.finish()
    broken = Real(tmp_path / "broken", ["b_mtard", "rslad", "natural"], [0, 1])
    for number in range(3):
        process = broken.start()
        seen = len(broken.best())
        until(lambda seen=seen: len(broken.best()) >= seen + 2, 300)  # type: ignore[misc]
        process.kill()
        if number:
            broken.kill_all()
        process.communicate()
    broken.finish()
    assert broken.runs().keys() == whole.runs().keys()
    teachers = [
        [file.name for file in (each.folder / "runs/teachers").glob("*.h5")]
        for each in (whole, broken)
    ]
    assert sorted(teachers[0]) == sorted(teachers[1])
    assert len(teachers[0]) == 4
    for name, run in whole.runs().items():
        ours, theirs = facts(run), facts(broken.runs()[name], repeats=True)
        # Which run trained a teacher depends on which was first.
        students = {key for key in ours if key.startswith("student")}
        assert students
        assert all(ours[key] == theirs[key] for key in students)
    tables = [next(each.folder.rglob("table.md")) for each in (whole, broken)]
    assert tables[0].read_text() == tables[1].read_text()
