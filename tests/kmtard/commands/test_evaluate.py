"""The command: a run or a file in, a table out, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from rich.console import Console

import kmtard
from kmtard.commands.evaluate import Display, main
from kmtard.data.digits import digits
from kmtard.evaluation.evaluator import evaluate
from kmtard.evaluation.network_evaluator import Step
from kmtard.evaluation.result import Evaluation
from kmtard.evaluation.store import BatchStore
from kmtard.networks import convert
from kmtard.networks.small_cnn import small_cnn
from kmtard.networks.wide_resnet import trades_wide_resnet
from kmtard.recipe import load
from kmtard.registry import modules, robustbench
from kmtard.registry.corruptions import CORRUPTIONS
from kmtard.runs import EventWriter, Run
from kmtard.runs.results import read_all
from kmtard.training.stopping import Stopped, StopSignal

# Files, texts and signals do not depend on the backend.
pytestmark = pytest.mark.once("torch")

ROOT = Path(kmtard.__file__).parents[1]
LIMIT, BATCH = 40, 16
# A module of a user's own.
OWN_NETWORK = """
import keras


@keras.saving.register_keras_serializable(package="own_nets")
class Halved(keras.layers.Layer):
    def call(self, x):
        return x / 2


def halved(num_classes, input_shape, *, width=2):
    layers = keras.layers.Flatten(), Halved(), keras.layers.Dense(num_classes)
    return keras.Sequential([keras.Input(input_shape), *layers])
"""
# What a child runs to end itself by SIGKILL after a number of batches.
KILLED = """
import os, signal, sys
from kmtard.commands.evaluate import main
from kmtard.evaluation.store import BatchStore

write, left = BatchStore.write, [int(sys.argv[1])]

def killing(self, number, batch):
    write(self, number, batch)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)

BatchStore.write = killing
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def student() -> keras.Model:
    """A linear network, fitted by least squares, that is right on most digits."""
    train = digits().train
    x = train.images.reshape(len(train), -1) / 255
    wanted = np.eye(10)[train.labels]
    kernel = np.linalg.lstsq(x, wanted, rcond=None)[0]
    image = keras.Input((8, 8, 1))
    net = keras.Sequential([image, layers.Flatten(), layers.Dense(10)])
    net.set_weights([kernel, np.zeros(10)])
    return net


@pytest.fixture(scope="module")
def finished_run(
    recipe: Path, student: keras.Model, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """A run whose student and robust teacher are there."""
    overrides = [
        "evaluation.attacks=['fgsm', 'pgd_trades']",
        *(f"evaluation.limit={LIMIT}", "evaluation.steps=2"),
        f"data.batch_size={BATCH}",
    ]
    text = load(recipe, overrides=overrides).to_toml()
    run = Run.create(tmp_path_factory.mktemp("runs"), "run", text, {})
    student.save(run.best / "student.keras")
    small_cnn(10, (8, 8, 1), width=3).save_weights(run.best / "adv_teacher.weights.h5")
    return run


@pytest.fixture
def run(finished_run: Run, tmp_path: Path) -> Run:
    """A copy of the run that a test may change."""
    return Run.open(shutil.copytree(finished_run.path, tmp_path / "run"))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The images of each attacked batch that is stored."""
    indices: list[list[int]] = []
    write = BatchStore.write

    def noting(self: BatchStore, number: int, batch: dict[str, np.ndarray]) -> None:
        write(self, number, batch)
        if not self.path.name.startswith(("clean-", "diagnostics-")):
            indices.append(batch["indices"].tolist())

    monkeypatch.setattr(BatchStore, "write", noting)
    return indices


@pytest.fixture(scope="module")
def evaluated(
    finished_run: Run, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, subprocess.CompletedProcess[str]]:
    """The run after the command in a separate process, and the output."""
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    run = Run.open(shutil.copytree(finished_run.path, folder))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    del environment["KERAS_BACKEND"]
    process = subprocess.run(
        [sys.executable, "-m", "kmtard.evaluate", str(run.path)],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
    )
    return run, process


@pytest.mark.every_backend
def test_run_brings_its_settings(
    evaluated: tuple[Run, subprocess.CompletedProcess[str]], student: keras.Model
) -> None:
    run, process = evaluated
    assert (process.returncode, process.stderr) == (0, "")
    found = Evaluation.load(run.path)
    test = digits().test.limit(LIMIT)
    wanted = evaluate(
        student,
        test,
        attacks=["fgsm", "pgd_trades"],
        epsilon=0.1,
        step_size=0.1,
        steps=2,
    )
    assert found.images == LIMIT
    assert found.clean_accuracy == wanted.clean_accuracy > 0.8
    assert found.robust_accuracy == wanted.robust_accuracy
    assert found.attacks["pgd_trades"].settings["steps"] == 2
    assert found.environment["batch_size"] == BATCH
    assert found.environment["backend"] == keras.config.backend()
    assert found.student.role == "student"
    assert found.model == f"student of {run.name}"
    for name in ("clean", "fgsm", "pgd_trades", "worst case"):
        assert f"│ {name} " in process.stdout
    assert "fgsm (2/3): " in process.stdout
    assert "\x1b" not in process.stdout


def test_file_with_options(
    student: keras.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.keras"
    student.save(path)
    words = ["--data", "digits", "--attacks", "fgsm, pgd_sat", "--epsilon", "8/255"]
    words += ["--limit", "20", "--save-images", "--seed", "3"]
    assert main([str(path), *words]) == 0
    folder = tmp_path / "net.evaluation"
    found = Evaluation.load(folder)
    assert list(found.attacks) == ["fgsm", "pgd_sat"]
    assert found.attacks["fgsm"].settings["epsilon"] == 8 / 255
    assert found.environment["seed"] == 3
    images = np.load(folder / "evaluation" / "images" / "fgsm.npy")
    clean = digits().test.limit(20).images / 255
    assert images.shape == clean.shape
    assert 0 < np.abs(images - clean).max() < 8 / 255 + 1e-6
    assert "pgd_sat" in capsys.readouterr().out


def test_the_record_says_how_to_repeat_it(run: Run, tmp_path: Path) -> None:
    path = shutil.copy(run.best / "student.keras", tmp_path / "my model.keras")
    words = [str(path), "--data", "digits", "--limit", "8", "--attacks", "fgsm"]
    assert main(words) == 0
    assert main([*words[:-1], "pgd_trades", "--backend", "torch"]) == 0
    found = Evaluation.load(path.with_suffix(".evaluation")).environment
    assert found["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    first, second = map(shlex.split, found["commands"])
    assert first == ["kmtard", "evaluate", *words, "--backend", "torch"]
    assert second[-3:] == ["pgd_trades", "--backend", "torch"]


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A small model of RobustBench, and the words that evaluate it."""
    entry = robustbench.Entry(
        key="cifar10/L2/Small",
        architecture="WideResNet-10-1",
        paper="A paper",
        link="a link",
        network="wide_resnet:trades_wide_resnet",
        options={"depth": 10, "width": 1},
        epsilon="0.5",
        clean=95.5,
        autoattack=70.25,
    )
    table = {**robustbench.entries(), entry.key: entry}
    monkeypatch.setattr(robustbench, "entries", lambda: table)
    network = trades_wide_resnet(10, (32, 32, 3), depth=10, width=1)
    convert.save(network, tmp_path / "small.pt")
    x = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3)).astype("uint8")
    y = np.arange(12) % 10
    data = tmp_path / "data.npz"
    np.savez(data, x_train=x, y_train=y, x_test=x, y_test=y)
    words = ["robustbench:Small", "--weights", str(tmp_path / "small.pt")]
    return [*words, "--data", "npz", "--directory", str(data), "--attacks", "fgsm"]


def test_a_model_of_robustbench(
    published: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(published) == 0
    found = Evaluation.load(tmp_path / "small.evaluation")
    assert found.model == "Small" and found.conditions["norm"] == "l2"
    assert found.conditions["epsilon"] == 0.5
    assert found.environment["published"]["autoattack"] == 70.25
    printed = capsys.readouterr().out
    assert "RobustBench: cifar10/L2/Small, WideResNet-10-1" in printed
    assert "clean-below-training" in printed and "95.50" in printed


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["robustbench:Small"], "models/cifar10/L2/Small.pt. Received: no --weights"),
        (["robustbench:Small", "--weights", "none.pt"], "none.pt, which is no file"),
        (["robustbench:Smal"], "Did you mean Small?"),
        (["robustbench:Bai2024MixedNUTS"], "It is a mixture of several networks"),
        (["robustbench:Standard", "--weights", "a"], "a, which is no file"),
        (["robustbench:Chen2020Efficient"], "robustbench:cifar100/Linf/Chen2020"),
        (["model.keras", "--weights", "a"], "Expected --weights only with robustbench"),
    ],
)
def test_a_model_of_robustbench_that_cannot_be_loaded(
    published: list[str],
    words: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(words) == 2
    assert told in capsys.readouterr().err.replace("\n", " ")


def test_weights_of_another_model_are_refused(
    published: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = trades_wide_resnet(10, (32, 32, 3), depth=10, width=2)
    convert.save(other, tmp_path / "small.pt")
    assert main(published) == 1
    assert "Cannot load Small" in capsys.readouterr().err


def test_several_radii_and_classes(
    student: keras.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.keras"
    student.save(path)
    words = [str(path), "--data", "digits", "--attacks", "fgsm", "--limit", "20"]
    assert main([*words, "--epsilons", "0,0.1,2/255", "--per-class"]) == 0
    output = capsys.readouterr().out
    assert "epsilon 2/255: fgsm (2/2): accuracy" in output
    assert "epsilon 0.1: fgsm (2/2): accuracy" in output
    text = " ".join(output.split())
    for title in (
        "Robust accuracy over epsilon",
        "Accuracy per class",
        "Predictions under fgsm",
        "fairness gap",
        "median minimal distance",
    ):
        assert title in text, title
    records, _ = read_all(tmp_path / "net.evaluation")
    shares = {r.conditions["epsilon"]: r.student.attacks["fgsm"] for r in records}
    assert sorted(shares) == [2 / 255, 0.1]
    assert shares[0.1].accuracy <= shares[2 / 255].accuracy
    assert Evaluation.load(tmp_path / "net.evaluation").conditions["epsilon"] == 2 / 255


def test_radii_of_a_run_leave_its_own_record(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(run.path), "--attacks", "fgsm"]) == 0
    before = Evaluation.load(run.path).to_dict()
    # The recipe's radius is 0.1, which here depends on the smaller one.
    words = ["--attacks", "fgsm", "--epsilons", "0.05,0.1"]
    assert main([str(run.path), *words]) == 0
    assert Evaluation.load(run.path).to_dict() == before
    radii = sorted(
        (each.conditions["epsilon"], *each.conditions.get("smaller_epsilons", ()))
        for each in read_all(run.path)[0]
    )
    assert radii == [(0.05,), (0.1,), (0.1, 0.05)]
    capsys.readouterr()
    assert main([str(run.path), "--epsilons", "0.1,0.2", "--attacks", "fgsm"]) == 0
    after = Evaluation.load(run.path).to_dict()
    assert len(after.pop("environment")["commands"]) == 2
    del before["environment"]
    assert after == before, "already evaluated"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--epsilons", "0"], "--epsilons needs a radius above 0"),
        (["--epsilons", "4,8"], "--epsilons: `epsilon` must be a number in [0, 1]"),
        (["--epsilons", "0.1", "--save-images"], "--save-images needs one radius"),
    ],
)
def test_radii_that_cannot_be(
    run: Run, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(run.path), *words]) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert not (run.path / "evaluation").exists()


@pytest.mark.parametrize(
    "words",
    [["--epsilon", "0.1", "--epsilons", "0.1,0.2"], ["--epsilons", "0.1,x"]],
)
def test_radii_that_nobody_can_read(run: Run, words: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main([str(run.path), *words])
    assert error.value.code == 2


def test_corruptions_have_their_table(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shutil.copy(run.best / "student.keras", tmp_path / "net.keras")
    words = [str(path), "--data", "digits", "--attacks", "fgsm", "--limit", "20"]
    baseline = tmp_path / "alexnet.json"
    baseline.write_text(json.dumps({"fog": 0.8, "frost": [0.5] * 5}))
    more = ["--corruptions", "fog,frost", "--corruption-baseline", str(baseline)]
    assert main([*words, *more]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "frost (3/4): accuracy" in text
    assert "Common corruptions" in text and "the mCE" in text
    assert "frost: a generated texture replaces the photographs of frost" in text
    found = Evaluation.load(tmp_path / "net.evaluation")
    assert list(found.corruption_accuracy) == ["frost", "fog"]
    assert main([*words, "--corruptions"]) == 0
    capsys.readouterr()
    after = Evaluation.load(tmp_path / "net.evaluation")
    assert list(after.corruption_accuracy) == list(CORRUPTIONS)
    assert after.corruption_accuracy["fog"] == found.corruption_accuracy["fog"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--corruptions", "fogg"], "--corruptions: Corruptions must be all"),
        (["--corruption-baseline", "a.json"], "needs --corruptions"),
        (
            ["--corruptions", "--corruption-baseline", "none.json"],
            "Expected a JSON file with the errors of a model",
        ),
    ],
)
def test_corruptions_that_cannot_be(
    run: Run, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(run.path), *words]) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert not (run.path / "evaluation").exists()


def test_a_model_behind_corruptions_is_not_taken_for_their_names(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as error:
        main(["--corruptions", str(run.path)])
    assert error.value.code == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "a .keras file before --corruptions" in told


def test_the_verdict_names_the_command_to_run(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(run.path), "--attacks=fgsm", "--limit", "20"]
    assert main([*words, "--strict"]) == 3
    text = " ".join(capsys.readouterr().out.split())
    assert "verdict: Do not quote this robust accuracy, because fgsm gives only" in text
    command = (
        f"run: kmtard evaluate {run.path} --limit 20 --strict --attacks autoattack"
    )
    assert command in text
    assert main(words) == 0


def test_clean_accuracy_far_below_that_of_the_training_smells(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    accuracies = {"robust_accuracy": 0.5, "w_robust_accuracy": 0.7}
    metrics = {**accuracies, "clean_accuracy": 0.9}
    run.events().path.unlink(missing_ok=True)
    events = EventWriter(run.events_path)
    events.write("epoch", phase="student", epoch=1, step=1, seconds=1, metrics=metrics)
    assert main([str(run.path), "--attacks", "fgsm"]) == 0
    assert "clean-below-training" not in capsys.readouterr().out
    other = keras.models.load_model(run.best / "student.keras", compile=False)
    kernel, bias = other.get_weights()
    other.set_weights([np.roll(kernel, 1, axis=1), bias])
    other.save(run.best / "student.keras")
    assert main([str(run.path), "--attacks", "fgsm", "--seed", "1"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "warning: clean-below-training" in output
    assert "in training, or as published, it was 90.00%" in output


def test_input_range_gives_the_model_what_it_was_made_for(
    run: Run, student: keras.Model, capsys: pytest.CaptureFixture[str]
) -> None:
    biased = keras.models.clone_model(student)
    biased.set_weights([student.get_weights()[0], np.linspace(0, 0.3, 10)])
    biased.save(run.best / "student.keras")
    words = [str(run.path), "--attacks", "fgsm"]
    assert main(words) == 0
    before = Evaluation.load(run.path)
    image = keras.Input((8, 8, 1))
    whole = keras.Model(image, biased(layers.Rescaling(1 / 255)(image)))
    whole.save(run.best / "student.keras")
    assert main([*words, "--input-range", "0,255"]) == 0
    assert "images in [0, 255]; epsilon is for [0, 1]" in capsys.readouterr().out
    [found] = [
        Evaluation.load(each.path)
        for each in read_all(run.path)[0]
        if "input_range" in each.conditions
    ]
    assert found.clean_accuracy == before.clean_accuracy
    assert found.robust_accuracy == before.robust_accuracy
    assert found.attacks["fgsm"].settings == before.attacks["fgsm"].settings
    assert Evaluation.load(run.path).to_dict() == before.to_dict()
    assert main(words) == 0
    assert Evaluation.load(run.path).clean_accuracy < before.clean_accuracy / 2


@pytest.mark.parametrize("text", ["255", "255,0", "0,x", "0,1,2", ""])
def test_input_range_that_is_none(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as error:
        main(["net.keras", "--input-range", text])
    assert error.value.code == 2
    assert "expected two increasing numbers such as 0,255" in capsys.readouterr().err


def test_norm_l2(
    run: Run, student: keras.Model, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(run.path), "--norm", "l2", "--epsilon", "0.5"]
    assert main([*words, "--attacks", "pgd_trades"]) == 0
    [found] = [
        Evaluation.load(each.path)
        for each in read_all(run.path)[0]
        if each.conditions.get("norm") == "l2"
    ]
    assert found.attacks["pgd_trades"].settings["norm"] == "l2"
    assert 0.3 < found.attacks["pgd_trades"].distance.l2 < 0.5 + 1e-5
    wanted = evaluate(
        student,
        digits().test.limit(LIMIT),
        **{"attacks": "pgd_trades", "norm": "l2", "epsilon": 0.5},
        **{"step_size": 0.1, "steps": 2},
    )
    assert found.robust_accuracy == wanted.robust_accuracy
    assert main([*words, "--attacks", "rays_100"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "'rays_100', which supports only 'linf'" in said


def test_norm_l1(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(run.path), "--norm", "l1", "--attacks"]
    assert main([*words, "apgd_ce", "--epsilons", "12", "--limit", "4"]) == 0
    [found] = [
        Evaluation.load(each.path)
        for each in read_all(run.path)[0]
        if each.conditions.get("norm") == "l1"
    ]
    assert found.attacks["apgd_ce"].correct < found.clean.correct
    assert found.attacks["apgd_ce"].settings["epsilon"] == 12
    assert "outside" not in capsys.readouterr().out
    assert main([*words, "apgd_ce", "--epsilon", "-1"]) == 2
    assert "`epsilon` must be a number >= 0" in capsys.readouterr().err
    assert main([*words, "autoattack", "--epsilon", "2"]) == 2
    assert "The norm 'l1' is supported by apgd_ce" in capsys.readouterr().err


def test_run_of_a_network_of_the_users_own(
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "own_nets.py").write_text(OWN_NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(modules, "_given", {})
    known = keras.saving.get_custom_objects()

    def forget() -> None:
        sys.modules.pop("own_nets", None)
        known.pop("own_nets>Halved", None)

    text = load(recipe, overrides=["student.network='own_nets:halved'"]).to_toml()
    run = Run.create(tmp_path / "runs", "own", text, {})
    modules.load("own_nets").halved(10, (8, 8, 1)).save(run.best / "student.keras")
    shutil.copy(run.best / "student.keras", tmp_path / "file.keras")
    words = ["--attacks", "fgsm", "--limit", "20"]
    forget()
    assert main([str(run.path), *words]) == 0
    [found] = read_all(run.path)[0]
    forget()
    of_file = ["file.keras", *words, "--data", "digits", "--epsilon", "0.1"]
    assert main(of_file) == 1
    assert "Give --import MODULE" in capsys.readouterr().err
    assert main([*of_file, "--import", "own_nets"]) == 0
    [alone] = read_all(tmp_path / "file.evaluation")[0]
    assert alone.student.clean.accuracy == found.student.clean.accuracy
    forget()


def test_own_loss(
    student: keras.Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = """
import kmtard

def lead(labels, logits):
    return -kmtard.losses.margin(labels, logits)
"""
    (tmp_path / "own_losses.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    student.save("model.keras")
    words = ["model.keras", "--data", "digits", "--limit", "20", "--epsilon", "0.1"]
    attack = ["--attacks", "pgd_trades", "--loss", "own_losses:lead"]
    assert main([*words, *attack]) == 0
    found = Evaluation.load(tmp_path / "model.evaluation")
    assert found.conditions["loss"] == "own_losses:lead"
    assert "own_losses:lead" in found.student.attacks["pgd_trades"].settings["loss"]
    capsys.readouterr()
    wrong = ["--attacks", "rays_100", "--loss", "own_losses:lost"]
    assert main([*words, *wrong]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "own_losses to define lost" in said
    assert "Your own loss is for the attacks fgsm" in said
    sys.modules.pop("own_losses", None)


def test_display_tells_seldom_and_ends_after_a_batch_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, now = StringIO(), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with StopSignal() as stop:
        display = Display(Console(file=file, width=100), stop)
        display(Step("autoattack", 3, 3, 0, 128))
        for now[0], doing in ((4.0, "apgd-ce"), (6.0, "apgd-t"), (9.0, "apgd-t")):
            display(Step("autoattack", 3, 3, 0, 128, doing=doing))
        now[0] = 12.0
        display(Step("autoattack", 3, 3, 64, 128, 0.5))
        now[0] = 14.0
        os.kill(os.getpid(), signal.SIGTERM)
        display(Step("autoattack", 3, 3, 64, 128, 0.5, doing="square"))
        with pytest.raises(Stopped):
            display(Step("autoattack", 3, 3, 128, 128, 0.5))
    assert file.getvalue().splitlines() == [
        "autoattack (3/3), apgd-t: 0 of 128 images",
        "autoattack (3/3): 64 of 128 images, 50.00 %",
        "autoattack (3/3): accuracy 50.00 %",
    ]


@pytest.mark.every_backend
def test_killed_evaluation_goes_on(run: Run, written: list[list[int]]) -> None:
    command = [sys.executable, "-c", KILLED, "6", str(run.path), "--save-images"]
    process = subprocess.run(
        command,
        capture_output=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    stored = [
        np.load(path)["indices"].tolist()
        for path in run.path.glob("evaluation/batches/fgsm-*/*.npz")
    ]
    assert len(stored) == 2, "the diagnostics and three clean batches came before"
    assert not run.evaluation_path.exists()
    assert main([str(run.path), "--save-images"]) == 0
    found = Evaluation.load(run.path)
    right = np.flatnonzero(found.clean.robust).tolist()
    attacked = [index for batch in stored + written for index in batch]
    assert sorted(attacked) == sorted(2 * right), "each image once by each attack"
    whole = [np.load(p) for p in run.path.glob("evaluation/images/*.npy")]
    assert [len(images) for images in whole] == [LIMIT, LIMIT]


def test_signal_ends_after_the_batch(
    run: Run,
    written: list[list[int]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write = BatchStore.write

    def ending(self: BatchStore, *batch: object) -> None:
        write(self, *batch)
        if written:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(BatchStore, "write", ending)
    assert main([str(run.path), "--attacks", "fgsm"]) == 0
    assert len(written) == 1
    output = capsys.readouterr().out
    words = f"stopped; continue with: kmtard evaluate {run.path} --attacks fgsm"
    assert words in output
    monkeypatch.setattr(BatchStore, "write", write)
    assert main([str(run.path), "--attacks", "fgsm"]) == 0
    right = np.flatnonzero(Evaluation.load(run.path).clean.robust).tolist()
    assert sorted(index for batch in written for index in batch) == right
    assert "continues in" in capsys.readouterr().out


def test_comparison(
    evaluated: tuple[Run, subprocess.CompletedProcess[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = evaluated[0].path
    content = json.loads((path / "evaluation.json").read_text())
    del content["crc32"]  # of the content as it was
    [student] = content["networks"]
    student["attacks"]["fgsm"]["settings"]["epsilon"] = 0.2
    other = tmp_path / "evaluation.json"
    other.write_text(json.dumps(content))
    assert main(["--compare", str(path), str(other)]) == 0
    output = capsys.readouterr().out
    assert "McNemar" in output
    assert "settings differ: fgsm" in output
    assert f"A: {path}" in output
    content["conditions"]["images"] = "others"
    other.write_text(json.dumps(content))
    assert main(["--compare", str(path), str(tmp_path)]) == 1
    assert "same images" in capsys.readouterr().err


def test_other_conditions_have_a_record_of_their_own(
    evaluated: tuple[Run, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    run = Run.open(shutil.copytree(evaluated[0].path, tmp_path / "run"))
    before = run.evaluation_path.read_bytes()
    fewer = ["--limit", "8", "--attacks", "fgsm"]
    assert main([str(run.path), *fewer]) == 0
    assert main([str(run.path), "--epsilon", "0.2", "--attacks", "fgsm"]) == 0
    assert main([str(run.path), "--seed", "1", "--attacks", "fgsm"]) == 0
    assert run.evaluation_path.read_bytes() == before
    (own, *others), problems = read_all(run.path)
    assert problems == []
    assert (own.images, own.attacks) == (LIMIT, ["fgsm", "pgd_trades"])
    told = [(r.images, r.conditions["epsilon"], r.conditions["seed"]) for r in others]
    assert sorted(told) == [(8, 0.1, 0), (LIMIT, 0.1, 1), (LIMIT, 0.2, 0)]
    assert main([str(run.path), "--limit", "8", "--attacks", "pgd_sat"]) == 0
    [small] = [each for each in read_all(run.path)[0] if each.images == 8]
    assert small.attacks == ["fgsm", "pgd_sat"], "the same conditions, one record"
    assert small.pictures is not None
    right = small.student.clean.robust.index("1")
    assert small.pictures.path("pgd_sat", right)
    assert main(["--compare", str(small.path), str(small.path)]) == 0


def test_new_attacks_join_those_of_the_run(
    evaluated: tuple[Run, subprocess.CompletedProcess[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = Run.open(shutil.copytree(evaluated[0].path, tmp_path / "run"))
    before = Evaluation.load(run.path)
    assert main([str(run.path), "--attacks", "pgd_sat"]) == 0
    found = Evaluation.load(run.path)
    assert list(found.attacks) == ["fgsm", "pgd_trades", "pgd_sat"]
    assert found.robust_accuracy["fgsm"] == before.robust_accuracy["fgsm"]
    assert not list(run.path.glob("evaluation/*.json"))
    output = capsys.readouterr().out
    assert "pgd_trades" in output, "the table is that of the record"
    assert "W-Robust, against pgd_trades" in output


def test_transfer_takes_the_robust_teacher(run: Run) -> None:
    assert main([str(run.path), "--attacks", "transfer_pgd_trades"]) == 0
    found = Evaluation.load(run.path)
    assert found.robust_accuracy["transfer_pgd_trades"] > 0
    (run.best / "adv_teacher.weights.h5").unlink()
    assert main([str(run.path), "--attacks", "transfer_pgd_trades"]) == 1


def test_all_mistakes_at_once_and_nothing_starts(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--attacks", "fgms,fgsm,pgd_tradse", "--data", "digit", "--epsilon", "8"]
    words += ["--suite", "papr", "--limit", "0", "--surrogate", "none.keras"]
    assert main([str(run.path), *words]) == 2
    shown = capsys.readouterr()
    for word in ("fgsm?", "pgd_trades?", "digits?", "paper?", "8/255, not 8"):
        assert word in shown.err
    assert "--limit >= 1" in shown.err and "none.keras" in shown.err
    assert shown.out == ""
    assert not (run.path / "evaluation").exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["none"], "does not exist"),
        ([__file__], "neither"),
        ([str(ROOT)], "recipe.toml"),
        (["none", "--attacks", "fgms"], "Did you mean fgsm"),
        (["none", "--attacks", "FGSM"], "Did you mean fgsm"),
        (["none", "--attacks", "pgd"], "Did you mean pgd_"),
    ],
)
def test_model_that_is_none(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    shown = capsys.readouterr()
    assert why in shown.err
    assert "Traceback" not in shown.err


def test_two_model_files_are_compared_by_their_evaluations(
    evaluated: tuple[Run, subprocess.CompletedProcess[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = [str(tmp_path / name) for name in ("first.keras", "second file.keras")]
    (tmp_path / "first.evaluation").mkdir()
    record = evaluated[0].path / "evaluation.json"
    shutil.copy(record, tmp_path / "first.evaluation")
    assert main(["--compare", *files]) == 1
    wanted = f"kmtard evaluate '{files[1]}' --data NAME"
    assert wanted in " ".join(capsys.readouterr().err.split())
    shutil.copytree(tmp_path / "first.evaluation", tmp_path / "second file.evaluation")
    assert main(["--compare", *files]) == 0
    assert "McNemar" in capsys.readouterr().out


def test_file_needs_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.keras"
    path.write_text("no model")
    assert main([str(path)]) == 2
    assert "--data" in capsys.readouterr().err
    assert main([str(path), "--data", "digits"]) == 1
    assert "Expected a Keras model" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[], ["a.keras", "--epsilon", "x"], ["--compare", "a"]]
)
def test_command_line_that_says_nothing(words: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(words)
    assert error.value.code == 2


def test_run_without_student(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (run.best / "student.keras").unlink()
    assert main([str(run.path)]) == 1
    assert "student.keras" in capsys.readouterr().err


@pytest.fixture
def loaded() -> Callable[[str], set[str]]:
    """Top-level modules that a statement loads in a new interpreter."""

    def after(statement: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-c", f"{statement}; import sys; print(*sys.modules)"],
            capture_output=True,
            check=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        return {name.partition(".")[0] for name in done.stdout.split()}

    return after


@pytest.mark.every_backend
def test_command_loads_no_keras_before_it_has_chosen_a_backend(
    loaded: Callable[[str], set[str]],
) -> None:
    heavy = {"keras", "jax", "tensorflow", "torch"}
    assert not loaded("import kmtard.evaluate") & heavy


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--devices", "2", "--backend", "torch"], "only the backend jax divides"),
        (["--devices", "0", "--backend", "jax"], "Expected --devices >= 1 or all."),
        (["--devices", "3", "--batch-size", "8", "--backend", "jax"], "multiple of 3"),
    ],
)
def test_devices_that_cannot_share_a_batch_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    model = tmp_path / "a.keras"
    model.write_bytes(b"")
    assert main([str(model), "--data", "digits", *words]) == 2
    assert expected in " ".join(capsys.readouterr().err.split())


def test_threads_are_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["a.keras", "--threads", "0"])
    assert "expected at least 1. Received: 0." in capsys.readouterr().err


def test_devices_are_a_number_or_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["a.keras", "--devices", "some"])
    assert 'expected a whole number or "all"' in capsys.readouterr().err


def test_the_help_loads_no_numpy() -> None:
    """It would take a quarter of the time of `kmtard evaluate --help`."""
    code = "import sys, kmtard.commands.evaluate; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
