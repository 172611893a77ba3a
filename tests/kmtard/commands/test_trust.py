"""No command runs code that somebody else's recipe or run names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import pytest

import kmtard
from kmtard.commands import evaluate, fit
from kmtard.networks.small_cnn import small_cnn
from kmtard.recipe import load
from kmtard.registry import modules
from kmtard.runs import Run, list_runs

pytestmark = pytest.mark.once("torch")

CODE = """
from pathlib import Path
Path(__file__).with_suffix(".ran").touch()

from kmtard.data import digits
from kmtard.networks.small_cnn import small_cnn
from kmtard.methods import Natural

def data(directory=None):
    return digits()

def network(num_classes, input_shape):
    return small_cnn(num_classes, input_shape, width=2)

def nothing(num_classes, input_shape): ...

class Method(Natural): ...
"""


@pytest.fixture
def working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with the user's own code, not on `sys.path`."""
    folder = tmp_path / "working"
    folder.mkdir()
    (folder / "own_parts.py").write_text(CODE)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(modules, "_given", {})
    sys.modules.pop("own_parts", None)
    yield folder
    sys.modules.pop("own_parts", None)


@pytest.fixture
def own(recipe: Path, working: Path) -> Path:
    """The user's own recipe that names this code: natural training, one epoch."""
    overrides = [
        *("data.name=own_parts:data", "student.network=own_parts:network"),
        *("student.options={}", "schedule.epochs=1", "schedule.milestones=[]"),
        *(f"runtime.runs_dir={working / 'runs'}", "evaluation.limit=16"),
    ]
    made = load(recipe, method="own_parts:Method", overrides=overrides)
    path = working / "own.toml"
    path.write_text(made.to_toml())
    return path


@pytest.fixture
def foreign(own: Path, tmp_path: Path) -> Path:
    """The same recipe outside the working folder."""
    return shutil.move(own, tmp_path / "foreign.toml")


def ran(working: Path) -> bool:
    return (working / "own_parts.ran").exists()


def hostile(recipe: Path, path: Path) -> Path:
    """Write a recipe that names a shell command."""
    text = load(recipe, method="natural").to_toml()
    path.write_text(
        text.replace(
            'name = "digits"',
            'name = "subprocess:getoutput"\ndirectory = "touch ran; touch ../ran"',
        )
    )
    return path


@pytest.fixture
def hostile_run(recipe: Path, working: Path) -> Run:
    """A run under the working folder whose recipe names a shell command."""
    run = Run.create(working / "runs", "run", "", {})
    hostile(recipe, run.recipe_path)
    (run.path / ".lock").unlink()
    small_cnn(10, (8, 8, 1), width=2).save(run.best / "student.keras")
    return run


@pytest.mark.parametrize("trust", [[], ["--trust"], ["--import", "subprocess"]])
@pytest.mark.parametrize("command", ["fit", "dry run", "list", "resume", "evaluate"])
def test_a_shell_command_in_a_recipe_is_never_run(
    command: str,
    trust: list[str],
    recipe: Path,
    hostile_run: Run,
    working: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, run = str(hostile(recipe, working / "bad.toml")), str(hostile_run.path)
    call: Callable[[], int] = {
        "fit": lambda: fit.main([path, *trust]),
        "dry run": lambda: fit.main([path, "--dry-run", *trust]),
        "list": lambda: fit.main([path, "--list-methods", *trust]),
        "resume": lambda: fit.main(["--resume", run, *trust]),
        "evaluate": lambda: evaluate.main([run, *trust]),
    }[command]
    assert call() == 2
    shown = capsys.readouterr()
    assert "he module subprocess is part of Python's standard library" in shown.err
    assert shown.out == ""
    assert not list(working.parent.rglob("ran"))
    assert [each.name for each in list_runs(working / "runs")] == ["run"]


def test_code_under_the_working_folder_runs(own: Path, working: Path) -> None:
    assert fit.main([str(own)]) == 0
    assert ran(working)
    [run] = list_runs(working / "runs")
    assert run.state() == "finished"
    assert evaluate.main([str(run.path), "--attacks", "fgsm", "--limit", "8"]) == 0


RULE = """
from pathlib import Path
from kmtard import registry
from launcher.recipes.recipe_files import Shelf

found = {file.path.name: file for file in Shelf([], Path.cwd()).scan()}
print(found["own.toml"].mistakes, found["bad.toml"].mistakes[0])
print(registry.resolve("networks", "own_light:build").__name__)
"""


def test_command_and_launcher_have_one_rule_wherever_their_scripts_lie(
    recipe: Path, working: Path
) -> None:
    """The path of a script begins with its own folder, not with the working folder."""
    (working / "own_light.py").write_text("def build(num_classes, input_shape): ...")
    own = "student={network='own_light:build'}"
    text = load(recipe, method="natural", overrides=[own]).to_toml()
    (working / "own.toml").write_text(text)
    hostile(recipe, working / "bad.toml")
    done = subprocess.run(
        [sys.executable, "-P", "-c", RULE],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(kmtard.__file__).parents[1])},
    )
    assert done.returncode == 0, done.stderr
    checked, resolved = done.stdout.splitlines()
    assert checked.startswith("() ")
    assert "part of Python's standard library" in checked
    assert resolved == "build"


def test_a_foreign_recipe_that_names_code_needs_trust(
    foreign: Path, working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit.main([str(foreign)]) == 2
    error = capsys.readouterr().err
    assert f"it is outside the working folder {working}" in error
    assert error.count("give --trust") == 3
    assert not ran(working)
    assert not (working / "runs").exists()
    assert fit.main([str(foreign), "--trust"]) == 0
    assert ran(working)


def test_a_foreign_recipe_that_names_none_needs_no_trust(
    recipe: Path, working: Path
) -> None:
    words = ["--set", f"runtime.runs_dir={working / 'runs'}", "--method", "natural"]
    words += ["--set", "schedule.epochs=1", "--set", "schedule.milestones=[]"]
    # What the command line names is the user's own choice.
    words += ["--set", "student={network='own_parts:network'}"]
    assert fit.main([str(recipe), *words]) == 0
    assert ran(working)


def test_a_dry_run_imports_nothing_that_a_recipe_names(
    own: Path, working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit.main([str(own), "--dry-run"]) == 0
    assert "your own data set: not read" in capsys.readouterr().out
    words = [str(own), "--dry-run", "--set", "data.name=digits"]
    assert fit.main(words) == 0
    output = capsys.readouterr().out
    assert "training images" in output
    assert "student: your own network: not built, not measured; --trust" in output
    assert "Time of the run" not in output
    assert fit.main([*words, "--set", "student.network=small_cnn"]) == 0
    output = capsys.readouterr().out
    assert "student: your own method, not measured" in output
    assert not ran(working)
    assert fit.main([str(own), "--dry-run=measure", "--trust"]) == 0
    assert "whole run" in capsys.readouterr().out
    assert ran(working)


def test_a_dry_run_measures_the_rest(
    recipe: Path, working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = "nat_teacher={network='own_parts:network', weights='none.keras'}"
    words = [str(recipe), "--dry-run=measure", "--set", teacher]
    words += ["--set", f"runtime.cache_dir={working / 'teachers'}"]
    assert fit.main(words) == 0
    output = capsys.readouterr().out
    assert "student: a teacher is not built, not measured" in output
    assert "robust teacher: a training step takes" in output
    assert "what was measured" in output
    assert not ran(working)


def rewritten(run: Run, **info: object) -> Run:
    """Write the owner of the run into run.json."""
    known = {**run.info(), **info}
    text = json.dumps({key: each for key, each in known.items() if each is not None})
    run.info_path.write_text(text)
    return run


@pytest.fixture
def named(own: Path, working: Path) -> Run:
    """The user's own run that names code and has not begun yet."""
    run = Run.create(working / "runs", "named", own.read_text(), {})
    run.events_path.write_text('{"event": "run_stopped", "time": 1}\n')
    small_cnn(10, (8, 8, 1), width=2).save(run.best / "student.keras")
    return run


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        ({"host": "another"}, "does not name this host"),
        ({"user": "another"}, "does not name this user"),
        ({"host": None, "user": None}, "does not name this host"),
        ({}, "its folder is outside the working folder"),
    ],
)
@pytest.mark.parametrize("command", ["resume", "evaluate"])
def test_a_strangers_run_that_names_code_needs_trust(
    command: str,
    info: dict[str, object],
    reason: str,
    named: Run,
    working: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rewritten(named, **info)
    if not info:
        (working / "deeper").mkdir()
        shutil.copy(working / "own_parts.py", working / "deeper")
        monkeypatch.chdir(working / "deeper")
    words = [str(named.path), "--attacks", "fgsm", "--limit", "8"]
    main = evaluate.main if command == "evaluate" else fit.main
    words = words if command == "evaluate" else ["--resume", str(named.path)]
    assert main(words) == 2
    assert reason in capsys.readouterr().err
    assert not list(working.rglob("*.ran"))
    assert main([*words, "--trust"]) == 0
    assert list(working.rglob("*.ran"))


def test_a_run_of_an_earlier_version_is_own_by_its_host(named: Run) -> None:
    assert named.foreign_reason() is None
    assert rewritten(named, user=None).foreign_reason() is None


def test_a_network_that_returns_no_model_is_told(
    own: Path, working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit.main([str(own), "--set", "student.network=own_parts:nothing"]) == 1
    output = capsys.readouterr().out
    assert "Expected own_parts:nothing to return a Keras model" in output
    assert "student.network" in output


LAYERS = """
import keras

@keras.saving.register_keras_serializable(package="own_layers")
class Plain(keras.layers.Layer):
    def call(self, inputs):
        return inputs
"""


def test_import_registers_the_layers_of_a_model(
    working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (working / "own_layers.py").write_text(LAYERS)
    names: dict[str, type] = {}
    exec(LAYERS, names)  # noqa: S102
    image = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(names["Plain"]()(image))
    keras.Model(image, keras.layers.Dense(10)(flat)).save("plain.keras")
    keras.saving.get_custom_objects().pop("own_layers>Plain")
    words = ["plain.keras", "--data", "digits", "--attacks", "fgsm", "--limit", "8"]
    words += ["--epsilon", "0.1", "--backend", keras.config.backend()]
    assert evaluate.main(words) == 1
    capsys.readouterr()
    try:
        assert evaluate.main([*words, "--import", "own_layers"]) == 0
    finally:
        keras.saving.get_custom_objects().pop("own_layers>Plain", None)
        sys.modules.pop("own_layers", None)


def test_paths_of_the_command_line_begin_at_home(
    recipe: Path,
    working: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", str(working))
    shutil.copy(recipe, working / "tiny.toml")
    words = ["~/tiny.toml", "--method", "natural", "--set", "runtime.runs_dir=~/runs"]
    words += ["--set", "schedule.epochs=1", "--set", "schedule.milestones=[]"]
    assert fit.main(words) == 0
    [run] = list_runs(working / "runs")
    assert fit.main(["--resume", f"~/runs/{run.name}"]) == 0
    words = [f"~/runs/{run.name}", "--attacks", "fgsm", "--limit", "8"]
    assert evaluate.main([*words, "--output", "~/results"]) == 0
    assert (working / "results").is_dir()
    assert not Path("~").exists()
