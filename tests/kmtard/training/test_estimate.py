"""The dry run: what it counts and shows, and that it writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtard import registry
from kmtard.commands.fit import main
from kmtard.recipe import load
from kmtard.training import estimate as dry_run
from kmtard.training.estimate import KNOWN, Counts, Facts, counts_of, facts_of
from kmtard.training.teachers import cached_weights
from kmtard.training.trial import Pace, Trial

pytestmark = pytest.mark.once("torch")


def words(folder: Path, *overrides: str) -> list[str]:
    cache = f'runtime.cache_dir="{folder / "teachers"}"'
    return [f"--set={each}" for each in (*overrides, cache)]


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of one second each, batches of an evaluation of two, nothing compiled."""
    monkeypatch.setattr(Trial, "step", lambda self: Pace(10.0, 1.0))
    monkeypatch.setattr(Trial, "evaluation", lambda self: Pace(20.0, 2.0))
    monkeypatch.setattr(Trial, "checkpoint", lambda self: 0.5)
    monkeypatch.setattr(Trial, "event", lambda self: 0.1)


def test_it_measures_and_writes_nothing(
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [
        str(recipe),
        *words(tmp_path),
        "--method",
        "natural",
        "--dry-run=measure",
    ]
    assert main(arguments) == 0
    output = capsys.readouterr().out
    assert 'name = "natural"' in output
    assert "64 training images, 4 steps per epoch" in output
    assert "16 held-out images choose the best epoch" in output
    assert "student: a training step takes " in output
    assert "student: a batch of an evaluation takes " in output
    assert "student: a checkpoint takes " in output
    assert output.count("estimate") == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("order", [1, -1], ids=["recipe last", "recipe first"])
def test_alone_it_shows_sizes_and_measures_nothing(
    order: int,
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def measured(self: Trial) -> Pace:
        raise AssertionError("measured")

    monkeypatch.setattr(Trial, "step", measured)
    monkeypatch.setattr(Trial, "evaluation", measured)
    given = ["--dry-run", str(recipe)][::order]
    assert main([*given, *words(tmp_path), "--method", "natural"]) == 0
    output = capsys.readouterr().out
    assert " 904 " in output
    assert "0.1 MiB" in output
    assert "Time of the run" not in output
    assert output.endswith("not measured; --dry-run=measure runs some steps.\n")


@pytest.mark.usefixtures("instant")
def test_tables_tell_networks_memory_and_time(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(recipe), *words(tmp_path), "--dry-run=measure"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["student", "small_cnn", "904", "b-mtard", "3", "0.2", "MiB"] in lines
    nat_teacher = [
        "clean",
        "teacher",
        "small_cnn",
        "1,513",
        "natural",
        "1",
        "0.1",
        "MiB",
    ]
    assert nat_teacher in lines
    # 10 + 11 s of steps, 20 + 6 s of evaluations, 3 checkpoints, and an event for each
    # epoch and 5 s.
    beside = 26 + 3 * 0.5 + (3 + 21 / 5) * 0.1
    share = f"{100 * beside / (21 + beside):.1f}"
    assert ["student", "3", "12", "4", "50", "s", share, "%"] in lines
    assert ["clean", "teacher", "1", "4", "2", "36", "s", "63.7", "%"] in lines
    assert ["robust", "teacher", "2", "8", "3", "43", "s", "60.0", "%"] in lines
    assert ["whole", "run", "3", "min"] in lines


@pytest.mark.usefixtures("instant")
def test_teachers_that_are_not_trained_have_no_time(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = "adv_teacher={network='small_cnn', weights='none.keras'}"
    arguments = words(tmp_path, weights)
    cached = cached_weights(
        load(recipe, overrides=[each.removeprefix("--set=") for each in arguments]),
        "nat_teacher",
    )
    cached.parent.mkdir()
    cached.touch()
    assert main([str(recipe), *arguments, "--dry-run=measure"]) == 0
    output = capsys.readouterr().out
    assert " cached " in output
    assert "missing file" in output
    assert "teacher: a training step" not in output
    assert (
        main([str(recipe), *arguments, "--method", "natural", "--dry-run=measure"]) == 0
    )
    assert capsys.readouterr().out.count("not needed") == 2


@pytest.mark.usefixtures("instant")
def test_a_teacher_that_learns_is_told(
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    method = "tests.kmtard.methods.learning:LearningTeacher"
    monkeypatch.setitem(registry.METHODS, "joint", method)
    files = [
        f"{role}={{network='small_cnn', weights='none.keras'}}"
        for role in ("nat_teacher", "adv_teacher")
    ]
    arguments = [str(recipe), *words(tmp_path, *files), "--method", "joint"]
    assert main([*arguments, "--dry-run=measure"]) == 0
    lines = capsys.readouterr().out.splitlines()
    [nat] = [line for line in lines if line.strip().startswith("clean teacher")]
    [adv] = [line for line in lines if line.strip().startswith("robust teacher")]
    assert "missing file" in nat
    assert "learns" not in nat
    assert "missing file, learns" in adv


@pytest.mark.usefixtures("instant")
def test_known_data_need_not_be_there(
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def no_data(recipe: object) -> None:
        raise AssertionError("read")

    monkeypatch.setattr(dry_run, "load_data", no_data)
    overrides = words(tmp_path, "data.name=cifar100", "data.held_out=0.2")
    arguments = ["--method", "natural", "--set=data.batch_size=128", *overrides]
    whole = [
        "--set=data.limit=45_000",
        "--set=evaluation.limit=20_000",
        "--dry-run=measure",
    ]
    assert main([str(recipe), *arguments, *whole]) == 0
    output = capsys.readouterr().out
    assert "40,000 training images, 313 steps per epoch" in output
    assert "10,000 held-out images choose the best epoch" in output


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], Counts(64, 4, 16, 1)),
        (["data.limit=5000", "evaluation.limit=5000"], Counts(900, 57, 100, 7)),
        (["evaluation.selection=test", "data.limit=5000"], Counts(1000, 63, 16, 1)),
        (["evaluation.selection=test", "evaluation.limit=90"], Counts(64, 4, 50, 4)),
    ],
)
def test_images_are_counted_as_a_run_does(
    recipe: Path, overrides: list[str], expected: Counts
) -> None:
    facts = Facts(1000, 50, (8, 8, 1), 10)
    assert counts_of(load(recipe, overrides=overrides), facts) == expected


def test_facts_of_data_of_ones_own_are_read(recipe: Path) -> None:
    assert "digits" not in KNOWN
    assert facts_of(load(recipe)) == Facts(1437, 360, (8, 8, 1), 10)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (59.0, "59 s"),
        (61.0, "2 min"),
        (3600.0, "1 h"),
        (90_061.0, "1 d 1 h 2 min"),
    ],
)
def test_times_are_written_in_days_hours_and_minutes(seconds: float, text: str) -> None:
    assert dry_run._span(seconds) == text


def test_interruption_ends_it_cleanly(
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(self: Trial) -> Pace:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trial, "step", interrupt)
    arguments = [
        str(recipe),
        *words(tmp_path),
        "--method",
        "natural",
        "--dry-run=measure",
    ]
    assert main(arguments) == 130
    captured = capsys.readouterr()
    assert captured.out.endswith("interrupted; the lines above are complete\n")
    assert captured.err == ""
