"""The command: from a recipe to a run folder and a table, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

import kmtard
from kmtard.attacks import pgd_trades
from kmtard.commands.evaluate import main as evaluate_command
from kmtard.commands.fit import Screen, _reason, main, run_name
from kmtard.data.digits import digits
from kmtard.data.pipeline import TrainingStream
from kmtard.evaluation.evaluator import evaluate
from kmtard.evaluation.result import Evaluation
from kmtard.evaluation.store import BatchStore
from kmtard.evaluation.suites import SUITES
from kmtard.recipe import load
from kmtard.runs import Run, list_runs
from kmtard.runs.history import History
from kmtard.runs.results import read_results
from kmtard.training import measuring
from kmtard.training.experiment import Experiment
from kmtard.training.stopping import StopSignal
from tests.kmtard.conftest import SECRET
from tests.run_folders import MakeRun

# Files, texts and signals do not depend on the backend.
pytestmark = pytest.mark.once("torch")

# The weights grow in the first epoch, and overflow in the second.
DIVERGING = ("optimizer.weight_decay=1000",)
METRICS = {
    *("loss", "nat_loss", "adv_loss", "nat_weight", "adv_weight", "nat_temperature"),
    *("adv_temperature", "nat_entropy", "adv_entropy", "relative_nat_loss"),
    *("relative_adv_loss", "clean_accuracy", "robust_accuracy", "w_robust_accuracy"),
    "learning_rate",
}
Finished = tuple[subprocess.CompletedProcess[str], Run]


def settings(folder: Path, *others: str) -> list[str]:
    """Overrides that keep a run and its teachers in a folder, and further ones."""
    places = (f'runtime.runs_dir="{folder / "runs"}"', *others)
    cache = f'runtime.cache_dir="{folder / "teachers"}"'
    return [word for setting in (*places, cache) for word in ("--set", setting)]


def only_run(folder: Path) -> Run:
    [run] = list_runs(folder / "runs")
    return run


@pytest.mark.every_backend
def test_run_folder_is_complete(finished: Finished, recipe: Path) -> None:
    _, run = finished
    assert run.state() == "finished"
    assert {path.name for path in run.path.iterdir()} == {
        *("recipe.toml", "run.json", "events.jsonl", "out.log", ".lock"),
        *("checkpoints", "best", "evaluation.json", "evaluation"),
    }
    assert load(run.recipe_path) == load(recipe)
    info = run.info()
    assert {"pid", "process_start", "host", "argv"} <= info.keys()
    assert {"keras", "numpy"} <= info["versions"].keys()
    assert info["backend"] == keras.config.backend()
    points = [path.name for path in (run.checkpoints / "student").iterdir()]
    assert sorted(points) == ["0000000008.npz", "0000000012.npz"]
    assert {path.name for path in run.best.iterdir()} == {
        *("nat_teacher.weights.h5", "adv_teacher.weights.h5", "student.keras"),
    }


def test_the_environment_is_in_no_file_of_a_run(finished: Finished) -> None:
    process, run = finished
    contents = {
        path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()
    }
    assert run.info_path in contents and run.log_path in contents
    for name, value in SECRET.items():
        assert value not in process.stdout + process.stderr
        for path, content in contents.items():
            assert value.encode() not in content, path
            assert name.encode() not in content, path


def test_run_is_named_by_what_differs_first(recipe: Path, tmp_path: Path) -> None:
    def name(*overrides: str, **options: Any) -> str:
        return run_name(load(recipe, overrides=overrides, **options), str(recipe))

    usual = name()
    settings, seed = usual.split("-")[2], "runtime.seed=1"
    assert usual == f"b_mtard-s0-{settings}-{recipe.stem}"
    assert re.fullmatch("[0-9a-f]{4}", settings)
    assert name(seed) == f"b_mtard-s1-{settings}-{recipe.stem}"
    assert name(f"runtime.runs_dir={tmp_path}", method="b-mtard") == usual
    assert name("attack.steps=2") != usual != name(smoke=True)
    own = "kmtard.methods.trades:TRADES"
    assert name(method=own).startswith("TRADES-s0-")


@pytest.mark.every_backend
def test_events_tell_the_run_in_its_order(finished: Finished) -> None:
    events = finished[1].events().poll()
    # A slow machine measures itself, too.
    others = ("step", "system")
    assert [event["event"] for event in events if event["event"] not in others] == [
        "run_started",
        *("phase_started", "epoch"),
        *("phase_started", "epoch", "epoch"),
        *("phase_started", "epoch", "epoch", "epoch"),
        *("phase_started", "evaluation", "evaluation", "evaluation"),
        "run_finished",
    ]
    phases = [event["phase"] for event in events if event["event"] == "phase_started"]
    assert phases == ["nat_teacher", "adv_teacher", "student", "evaluation"]
    times = [event["time"] for event in events]
    assert times == sorted(times)
    assert not any("non_finite" in event for event in events)


@pytest.mark.every_backend
def test_epochs_have_the_documented_metrics(finished: Finished) -> None:
    epochs = [
        event
        for event in finished[1].events().poll()
        if event["event"] == "epoch" and event["phase"] == "student"
    ]
    assert [(event["epoch"], event["step"]) for event in epochs] == [
        (1, 4),
        (2, 8),
        (3, 12),
    ]
    for event in epochs:
        assert METRICS <= event["metrics"].keys()
    rates = [event["metrics"]["learning_rate"] for event in epochs]
    assert rates == pytest.approx([0.1, 0.1, 0.01])


@pytest.mark.every_backend
def test_delivered_student_has_the_accuracies_said(finished: Finished) -> None:
    process, run = finished
    results = read_results(run.path)
    assert [network.label for network in results.networks] == [
        "clean teacher",
        "robust teacher",
        "student",
    ]
    student = keras.models.load_model(run.best / "student.keras")
    attack = pgd_trades(epsilon=0.1, step_size=0.1, steps=1)
    test = digits().test.limit(16)
    scores = evaluate(student, test, attacks={"attack": attack}, batch_size=16)
    clean, robust = scores.clean_accuracy, scores.robust_accuracy["attack"]
    found = results.student
    assert found.clean.accuracy == clean
    assert found.attacks["pgd_trades"].accuracy == robust
    assert found.attacks["pgd_trades"].epsilon == 0.1
    half = 0.5 * clean + 0.5 * robust
    assert (results.headline, found.w_robust) == ("pgd_trades", half)
    row = run.events().poll()[-1]["metrics"]
    assert row == {
        "role": "student",
        "clean_accuracy": clean,
        "robust_accuracy": {"pgd_trades": robust},
        "w_robust_accuracy": {"pgd_trades": half},
        "headline": "pgd_trades",
        "seconds": found.seconds,
    }
    [line] = [text for text in process.stdout.splitlines() if "│ student" in text]
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells[1:4] == [f"{100 * value:.2f}" for value in (clean, robust, half)]
    assert "pgd_trades: epsilon 0.1, step_size 0.1, steps 1" in process.stdout
    assert "W-Robust: half clean, half pgd_trades" in process.stdout


def test_fresh_run_can_be_compared_and_drawn(
    finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished[1]
    assert evaluate_command(["--compare", str(run.path), str(run.path)]) == 0
    assert "McNemar" in capsys.readouterr().out
    results = read_results(run.path)
    pictures = results.pictures
    assert pictures is not None and pictures.indices == tuple(range(16))
    found = results.student.clean
    for index in pictures.indices:
        attacked = pictures.path("pgd_trades", index)
        assert (attacked is not None) == (found.robust[index] == "1")
    path = pictures.path("clean", 3)
    assert path is not None
    pixels = np.asarray(Image.open(path))
    np.testing.assert_array_equal(pixels, digits().test.limit(16).images[3, ..., 0])


def test_evaluating_a_run_again_computes_nothing_new(
    finished: Finished, tmp_path: Path
) -> None:
    run = Run.open(shutil.copytree(finished[1].path, tmp_path / "run"))
    before = Evaluation.load(run.path)
    batches = set(run.path.rglob("*.npz"))
    assert evaluate_command([str(run.path)]) == 0
    assert set(run.path.rglob("*.npz")) == batches
    found = Evaluation.load(run.path)
    assert [each.role for each in found.networks] == [e.role for e in before.networks]
    assert found.robust_accuracy == before.robust_accuracy
    assert not list(run.path.glob("evaluation/*.json"))


def test_stopped_evaluation_goes_on_batch_by_batch(
    recipe: Path, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del finished  # has trained the teachers
    stored: list[str] = []
    write = BatchStore.write

    def ending(self: BatchStore, number: int, batch: dict[str, np.ndarray]) -> None:
        write(self, number, batch)
        stored.append(f"{self.path.name} {number}")
        if len(stored) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(BatchStore, "write", ending)
    overrides = ("runtime.runs_dir=" + str(tmp_path), "data.batch_size=8")
    words = [word for setting in overrides for word in ("--set", setting)]
    assert main([str(recipe), "--method", "natural", *words]) == 0
    [run] = list_runs(tmp_path)
    assert run.state() == "stopped"
    assert len(stored) == 2
    assert not run.evaluation_path.exists()
    assert main(["--resume", str(run.path)]) == 0
    assert run.state() == "finished"
    assert len(stored) == len(set(stored)) > 2, "no batch twice"
    assert read_results(run.path).images == 16


def test_lines_are_plain_where_no_terminal_is(finished: Finished) -> None:
    process, run = finished
    assert process.stderr == ""
    for text in (process.stdout, run.log_path.read_text()):
        assert "\x1b" not in text
        assert "╸" not in text
        assert "\r" not in text
        assert "robust teacher  epoch   2/2  loss " in text
        assert "student  epoch   3/3  loss " in text


def test_method_without_teachers_trains_none(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "[red] :dog: [/b]"
    attacks = ("evaluation.attacks=['pgd_trades', 'fgsm']", "evaluation.headline=fgsm")
    arguments = settings(
        folder, "schedule.epochs=1", "schedule.milestones=[]", *attacks
    )
    assert main([str(recipe), "--method", "trades", *arguments]) == 0
    run = only_run(folder)
    phases = [e["phase"] for e in run.events().poll() if e["event"] == "phase_started"]
    assert phases == ["student", "evaluation"]
    assert not (folder / "teachers").exists()
    output = capsys.readouterr().out
    assert output.splitlines()[0].startswith(f"run: {run.path} "), "taken literally"
    assert "W-Robust: half clean, half fgsm" in output
    assert read_results(run.path).headline == "fgsm"
    assert run.events().poll()[-1]["metrics"]["headline"] == "fgsm"
    assert run.state() == "finished"


def test_a_teacher_that_learns_is_delivered_and_evaluated_as_it_ends(
    recipe: Path, tmp_path: Path
) -> None:
    method = "tests.kmtard.methods.learning:LearningTeacher"
    arguments = settings(tmp_path, "schedule.epochs=2", "schedule.milestones=[]")
    assert main([str(recipe), "--method", method, *arguments]) == 0
    run = only_run(tmp_path)
    before, after = (
        keras.models.load_model(run.best / "adv_teacher.keras") for _ in range(2)
    )
    before.load_weights(run.best / "adv_teacher.weights.h5")
    first, last = (each.get_weights()[0] for each in (before, after))
    assert np.abs(first - last).max() > 0
    test = digits().test.limit(16)
    wanted = evaluate(after, test, attacks="fgsm", batch_size=16).clean_accuracy
    networks = {each.role: each for each in read_results(run.path).networks}
    assert networks["adv_teacher"].clean.accuracy == wanted


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "Graph execution error:\n\nDetected at node take defined at (most recent "
            'call last):\n  File "take.py", line 3, in take\n\nindices[0] = 7 is not '
            "in [0, 3)\n\t [[{{node take}}]] [Op:__inference_step_4]",
            "RuntimeError: indices[0] = 7 is not in [0, 3)",
        ),
        (
            "{{function_node __wrapped__Next}} ValueError: x.png: truncated\nTraceback "
            '(most recent call last):\n\n  File "a.py", line 1\n\nValueError: x.png: '
            "truncated\n\n\n\t [[{{node PyFunc}}]] [Op:IteratorGetNext]",
            "ValueError: x.png: truncated",
        ),
        ("plain\nof two lines", "RuntimeError: plain\nof two lines"),
    ],
)
def test_reason_is_told_without_tensorflows_wrapper(text: str, reason: str) -> None:
    assert _reason(RuntimeError(text)) == reason


def test_training_that_fails_tells_why_and_keeps_the_good_point(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    breaking = ("schedule.factor=1e3", "schedule.milestones=[1]", *DIVERGING)
    arguments = settings(tmp_path, *breaking, "schedule.epochs=3")
    assert main([str(recipe), "--method", "natural", *arguments]) == 1
    run = only_run(tmp_path)
    assert run.state() == "failed"
    reason = run.events().poll()[-1]["reason"]
    assert reason.startswith("FloatingPointError: Expected finite numbers. After")
    assert "epoch 2 the loss is nan" in reason
    output = capsys.readouterr().out
    assert f"failed: {reason}" in output
    assert "Traceback" not in output
    assert "Traceback" in run.log_path.read_text()
    [point] = (run.checkpoints / "student").iterdir()
    assert point.name == "0000000004.npz"
    assert not run.evaluation_path.exists()


def test_a_run_that_may_continue_delivers_its_best_finite_epoch(
    recipe: Path, tmp_path: Path
) -> None:
    breaking = ("schedule.factor=1e3", "schedule.milestones=[1]", *DIVERGING)
    going_on = ("schedule.epochs=3", "runtime.on_non_finite=continue")
    arguments = settings(tmp_path, *breaking, *going_on)
    assert main([str(recipe), "--method", "natural", *arguments]) == 0
    run = only_run(tmp_path)
    assert run.state() == "finished"
    [point] = (run.checkpoints / "student").iterdir()
    assert point.name == "0000000004.npz"
    student = keras.models.load_model(run.best / "student.keras")
    assert all(np.isfinite(each).all() for each in student.get_weights())


def test_a_first_epoch_that_diverges_leaves_no_student(
    recipe: Path, tmp_path: Path
) -> None:
    breaking = ("optimizer.learning_rate=1000", "optimizer.weight_decay=1000")
    for going_on in ("stop", "continue"):
        folder = tmp_path / going_on
        choice = f"runtime.on_non_finite={going_on}"
        arguments = settings(folder, *breaking, choice, "schedule.epochs=3")
        assert main([str(recipe), "--method", "natural", *arguments]) == 1
        run = only_run(folder)
        assert run.state() == "failed"
        assert run.events().poll()[-1]["reason"]
        assert list(run.best.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        (
            "student.options.mean=[0.5, 0.5]",
            "small_cnn cannot be built .*1 values",
        ),
        ("student.options.std=[0.5]", "cannot be built for images .* and 10 classes"),
    ],
)
def test_a_student_that_cannot_be_built_ends_the_run_before_a_teacher_trains(
    recipe: Path, tmp_path: Path, trained: list[str], override: str, reason: str
) -> None:
    assert main([str(recipe), *settings(tmp_path, override)]) == 1
    assert trained == []
    assert re.search(reason, only_run(tmp_path).events().poll()[-1]["reason"])


def test_a_damaged_teacher_ends_the_run_before_another_one_trains(
    recipe: Path, tmp_path: Path, trained: list[str]
) -> None:
    network = kmtard.networks.small_cnn(10, (8, 8, 1), width=4)
    network.variables[0].assign(network.variables[0] * float("nan"))
    weights = tmp_path / "teacher.keras"
    network.save(weights)
    teacher = f"adv_teacher={{network='small_cnn', weights='{weights}'}}"
    assert main([str(recipe), *settings(tmp_path, teacher)]) == 1
    assert trained == []
    reason = only_run(tmp_path).events().poll()[-1]["reason"]
    assert "has NaN or inf in 1 of" in reason and str(weights) in reason


def test_a_dry_run_shows_the_recipe_before_it_imports_keras(
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kmtard.commands.fit.silent_native_code", interrupted)
    assert main([str(recipe), "--dry-run", *settings(tmp_path)]) == 130
    output = capsys.readouterr().out
    assert "[student]" in output and "interrupted" in output


def test_a_dry_run_of_missing_data_is_no_traceback(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"PK nothing")
    data = (f'data.directory="{broken}"', "data.name=npz")
    assert main([str(recipe), "--dry-run", *settings(tmp_path, *data)]) == 1
    assert str(broken) in capsys.readouterr().err


def test_signal_while_a_training_begins_is_not_lost(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = TrainingStream.dataset

    def dataset(self: TrainingStream, skip: int = 0) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return make(self, skip)

    monkeypatch.setattr(TrainingStream, "dataset", dataset)
    monkeypatch.setattr(measuring, "PAUSE", 0.01)
    assert main([str(recipe), "--method", "natural", *settings(tmp_path)]) == 0
    run = only_run(tmp_path)
    assert run.state() == "stopped"
    # The run was measured until it ended.
    kinds = [event["event"] for event in run.events().poll()]
    assert "system" in kinds and kinds[-1] == "run_stopped"
    [point] = (run.checkpoints / "student").iterdir()
    assert point.name == "0000000001.npz"


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The roles that a experiment trains, while no training takes place."""
    roles: list[str] = []

    def train(
        self: Experiment, role: str, network: Any, teachers: Any, best: Path
    ) -> None:
        roles.append(role)
        network.save_weights(best)
        for epoch, (clean, robust) in enumerate([(0.8, 0.1), (0.7, 0.4)], start=1):
            metrics = {
                "clean_accuracy": clean,
                "robust_accuracy": robust,
                "w_robust_accuracy": (clean + robust) / 2,
            }
            self.events.write("epoch", phase=role, epoch=epoch, metrics=metrics)

    monkeypatch.setattr(Experiment, "_train", train)
    return roles


def test_teachers_are_cached_by_their_settings(
    recipe: Path, tmp_path: Path, trained: list[str]
) -> None:
    told: list[dict[str, Any]] = []

    def teacher(*overrides: str) -> list[np.ndarray]:
        whole = load(recipe, overrides=settings(tmp_path, *overrides)[1::2])
        run = Run.create(tmp_path / "runs", "run", whole.to_toml(), {})
        experiment = Experiment(whole, run, StopSignal(), lambda text: None)
        weights = experiment._trained("nat_teacher").get_weights()
        told[:] = run.events().poll()
        return weights

    first = teacher()
    assert trained == ["nat_teacher"]
    again = teacher("student.options.width=4", "optimizer.learning_rate=0.1")
    assert trained == ["nat_teacher"], "what does not make the teacher is no matter"
    (figures,) = (event["metrics"] for event in told)
    assert figures["role"] == "nat_teacher"
    assert figures["clean_accuracy"] == 0.7, "of the best epoch"
    assert figures["robust_accuracy"] == {"pgd_trades": 0.4}
    assert figures["w_robust_accuracy"] == {"pgd_trades": pytest.approx(0.55)}
    for value, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(value, other)
    teacher("nat_teacher.method.schedule.epochs=2")
    assert trained == ["nat_teacher"] * 2
    assert len(list((tmp_path / "teachers").glob("*.weights.h5"))) == 2


def test_damaged_events_leave_a_teachers_figures_out(make_run: MakeRun) -> None:
    run = make_run(phases=("nat_teacher",), done=1)
    good = Experiment._figures(SimpleNamespace(run=run), "nat_teacher")
    assert good["clean_accuracy"] == pytest.approx(0.6125)
    odd: tuple[Any, ...] = (None, 3, [1], {"w_robust_accuracy": "x"}, {})
    with run.events_path.open("a") as file:
        for metrics in odd:
            event = {"event": "epoch", "phase": "nat_teacher", "metrics": metrics}
            file.write(json.dumps(event) + "\n")
        file.write('{"event": "epoch", "phase": "nat_teacher"}\n')
    assert Experiment._figures(SimpleNamespace(run=run), "nat_teacher") == good


def test_missing_weights_are_told_before_anything_starts(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = "adv_teacher={network='small_cnn', weights='none.pt', source='a shelf'}"
    assert main([str(recipe), *settings(tmp_path, weights)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f'{recipe}: adv_teacher.weights = "none.pt": ')
    assert "get it from a shelf, or replace the key by train = true" in captured.err
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_shown_all_at_once_and_nothing_starts(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = recipe.read_text().replace("pad = 1", "pda = 1")
    bad = tmp_path / "bad.toml"
    bad.write_text(text)
    arguments = settings(tmp_path, "optimizer.learning_rat=1", "attack.steps=-1")
    assert main([str(bad), *arguments, "--method", "b-mtrad"]) == 2
    captured = capsys.readouterr()
    for word in ("data.pda", "pad", "learning_rate", "attack.steps", "b_mtard"):
        assert word in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == [bad]


def test_missing_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--resume", "--replay"])
@pytest.mark.parametrize(
    "others", [["--smoke"], ["--method", "trades"], ["--set", "data.pad=2"], ["a.toml"]]
)
def test_a_run_to_continue_or_repeat_takes_no_other_settings(
    finished: Finished,
    capsys: pytest.CaptureFixture[str],
    option: str,
    others: list[str],
) -> None:
    before = finished[1].events_path.read_bytes()
    with pytest.raises(SystemExit) as error:
        main([option, str(finished[1].path), *others])
    assert error.value.code == 2
    assert "leave out" in capsys.readouterr().err
    assert finished[1].events_path.read_bytes() == before


def copied(finished: Finished, folder: Path) -> Run:
    """A copy of the run, whose own recipe puts new runs into the same folder."""
    path = shutil.copytree(finished[1].path, folder / "runs" / finished[1].name)
    run = Run.open(path)
    recipe = load(run.recipe_path, overrides=[f"runtime.runs_dir={path.parent}"])
    run.recipe_path.write_text(recipe.to_toml())
    return run


def test_a_run_made_again_comes_out_the_same(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = copied(finished, tmp_path)
    before = {path: path.read_bytes() for path in first.path.rglob("*.json*")}
    assert main(["--replay", str(first.path)]) == 0
    [second] = [run for run in list_runs(tmp_path / "runs") if run.name != first.name]
    assert second.name == f"{first.name}-2"
    assert second.info()["replay_of"] == str(first.path)
    said = capsys.readouterr().out
    assert "the same: 3 epochs of the student, the evaluation on 16 images" in said
    # The teachers were in the cache.
    assert f"robust teacher: trained only in {first.path}" in said
    assert {path: path.read_bytes() for path in first.path.rglob("*.json*")} == before


def test_a_run_that_comes_out_differently_says_where(
    finished: Finished,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = copied(finished, tmp_path)

    def other(recipe: object, run: Run, *rest: object) -> int:
        text = first.events_path.read_text()
        text = text.replace('"nat_weight": 0.', '"nat_weight": 1.')
        # Without its checksum, a changed event is taken as it is.
        run.events_path.write_text(re.sub(r', "crc32": "?\w+"?', "", text))
        shutil.copy(first.evaluation_path, run.evaluation_path)
        return 0

    monkeypatch.setattr("kmtard.commands.fit._execute", other)
    assert main(["--replay", str(first.path)]) == 3
    said = capsys.readouterr().out
    assert "not the same: " in said and "student, epoch 1: nat_weight 0." in said


def test_replay_and_resume_exclude_each_other(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as error:
        main(["--replay", str(tmp_path), "--resume", str(tmp_path)])
    assert error.value.code == 2
    assert "cannot be used together" in capsys.readouterr().err
    assert main(["--replay", str(tmp_path)]) == 1
    assert "Expected the folder of a run" in capsys.readouterr().err


@pytest.mark.every_backend
def test_a_finished_run_names_its_devices_and_memory(finished: Finished) -> None:
    history = History(finished[1])
    history.poll()
    assert history.devices and all(history.devices)
    assert history.peak_memory["host"] > 2**20
    assert "revision" in finished[1].info()


def test_recipe_or_run_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main([])
    assert error.value.code == 2
    text = "expected a recipe, --resume RUN or --replay RUN"
    assert text in capsys.readouterr().err


def test_resume_needs_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--resume", str(tmp_path)]) == 1
    assert "Expected the folder of a run" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_screen_outlives_who_reads_it() -> None:
    reading, writing = os.pipe()
    with open(writing, "w") as file:
        screen = Screen(file)
        screen.write("seen")
        screen.flush()
        assert os.read(reading, 100) == b"seen"
        os.close(reading)
        for _ in range(3):
            screen.write("unseen")
            screen.flush()


def test_suite_is_run_at_the_end_of_the_run(
    recipe: Path, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the method itself has no robust teacher to transfer from."""
    del finished  # has trained the teachers
    attacks = ("fgsm", "transfer_pgd_trades", "rays_100")
    monkeypatch.setitem(SUITES, "paper", attacks)
    overrides = ("runtime.runs_dir=" + str(tmp_path), "evaluation.suite=paper")
    words = [word for setting in overrides for word in ("--set", setting)]
    assert main([str(recipe), "--method", "natural", *words]) == 0
    [run] = list_runs(tmp_path)
    evaluation = Evaluation.load(run.path)
    teacher, student = evaluation.networks
    assert (teacher.role, student.role) == ("adv_teacher", "student")
    assert list(teacher.attacks) == ["pgd_trades"]
    assert list(student.attacks) == [*attacks, "pgd_trades"]
    assert evaluation.headline == "pgd_trades"
    log = run.log_path.read_text()
    assert all(attack in log for attack in attacks)


def test_transfer_needs_a_robust_teacher(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = recipe.read_text()
    begin, end = text.index("[adv_teacher]"), text.index("[method]\n")
    alone = tmp_path / "alone.toml"
    alone.write_text(text[:begin] + text[end:].replace("b_mtard", "natural"))
    attacks = 'evaluation.attacks=["pgd_trades", "transfer_cw_inf"]'
    assert main([str(alone), "--set", attacks]) == 2
    assert "transfer_cw_inf needs the table [adv_teacher]" in capsys.readouterr().err
