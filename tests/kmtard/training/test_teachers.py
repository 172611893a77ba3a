"""The teachers that a run needs, and its messages about those it cannot read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kmtard.data.pipeline import Split
from kmtard.recipe import RecipeError, load, teacher_key
from kmtard.runs import RunError
from kmtard.training import teachers
from kmtard.training.stopping import Stopped
from kmtard.training.teachers import (
    check_accuracy,
    check_weights,
    missing_weights,
    needed_teachers,
    trained_instead,
    wait_for_turn,
)

pytestmark = pytest.mark.once("torch")

WEIGHTS = (
    "adv_teacher={network='small_cnn', weights='none.pt', source='https://example.org'}"
)


@pytest.mark.parametrize(
    ("method", "attacks", "needed"),
    [
        ("b_mtard", "['fgsm']", ["nat_teacher", "adv_teacher"]),
        ("rslad", "['fgsm']", ["adv_teacher"]),
        ("natural", "['fgsm']", []),
        ("natural", "['transfer_cw_inf']", ["adv_teacher"]),
    ],
)
def test_method_and_attacks_need_teachers(
    recipe: Path, method: str, attacks: str, needed: list[str]
) -> None:
    overrides = [f"evaluation.attacks={attacks}"]
    assert needed_teachers(load(recipe, method=method, overrides=overrides)) == needed


def test_a_suite_needs_the_teacher_it_transfers_from(recipe: Path) -> None:
    overrides = ["evaluation.suite=paper"]
    whole = load(recipe, method="natural", overrides=overrides)
    assert needed_teachers(whole) == ["adv_teacher"]
    alone = whole.model_copy(update={"adv_teacher": None})
    assert needed_teachers(alone) == []


def test_missing_weights_are_told_with_what_to_do(recipe: Path) -> None:
    whole = load(recipe, overrides=[WEIGHTS])
    with pytest.raises(RecipeError) as caught:
        check_weights(whole, "a.toml")
    assert str(caught.value) == (
        'a.toml: adv_teacher.weights = "none.pt": expected this file with the weights '
        "of small_cnn, which does not exist; get it from https://example.org, or "
        "replace the key by train = true"
    )
    check_weights(load(recipe, method="natural", overrides=[WEIGHTS]), "a.toml")


def test_weights_that_are_there_are_not_missing(recipe: Path, tmp_path: Path) -> None:
    file = tmp_path / "some.pt"
    file.touch()
    there = WEIGHTS.replace("none.pt", str(file))
    assert missing_weights(load(recipe, overrides=[there])) == []


def test_a_missing_teacher_is_trained_if_it_is_said_how(recipe: Path) -> None:
    whole = load(recipe, overrides=[WEIGHTS])
    assert trained_instead(whole) == whole
    how = WEIGHTS.replace("{", "{method={name='trades'}, ")
    trained = trained_instead(load(recipe, overrides=[how]))
    assert (trained.adv_teacher.weights, trained.adv_teacher.train) == (None, True)
    assert missing_weights(trained) == []
    assert trained.training("adv_teacher").method == "trades"


class Guesser:
    """A network that classifies a number of the ten images of `TEN` correctly."""

    def __init__(self, right: int) -> None:
        self.right = right

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        assert images.dtype == np.float32 and images.max() <= 1
        numbers = np.rint(images[:, 0, 0, 0] * 255).astype(int)
        return np.eye(2)[(numbers >= self.right).astype(int)]


TEN = Split(
    np.tile(np.arange(10, dtype="uint8")[:, None, None, None], (1, 2, 2, 1)),
    np.zeros(10, "int32"),
)


def with_expected(recipe: Path, accuracy: float) -> object:
    text = WEIGHTS.replace("{", f"{{expected_accuracy={accuracy}, ")
    return load(recipe, overrides=[text])


@pytest.mark.parametrize("accuracy", [60.0, 74.9, 75.0])
def test_a_teacher_as_good_as_expected(recipe: Path, accuracy: float) -> None:
    whole = with_expected(recipe, accuracy)
    line = check_accuracy(whole, "adv_teacher", Guesser(7), TEN)
    assert line is not None and "70.00 % on 10 training images" in line


def test_a_teacher_far_below_its_accuracy_is_refused(recipe: Path) -> None:
    whole = with_expected(recipe, 75.1)
    with pytest.raises(RunError) as error:
        check_accuracy(whole, "adv_teacher", Guesser(7), TEN)
    for part in ("70.00 %", "75.1 %", "standardized", "[adv_teacher.options]"):
        assert part in str(error.value)


def test_nothing_expected_is_nothing_checked(recipe: Path) -> None:
    whole = load(recipe, overrides=[WEIGHTS])
    assert check_accuracy(whole, "adv_teacher", Guesser(0), TEN) is None


@pytest.mark.parametrize("recipe_name", ["cifar100", "cifar100_mobilenet_v2"])
def test_a_teacher_of_the_first_version_is_still_found(recipe_name: str) -> None:
    path = Path(__file__).parents[3] / "recipes" / f"{recipe_name}.toml"
    assert teacher_key(load(path), "adv_teacher") == "6da253a4a33fe5bb"
    given = ["adv_teacher.options={mean='cifar10', std='cifar10'}"]
    other = teacher_key(load(path, overrides=given), "adv_teacher")
    assert other != "6da253a4a33fe5bb"


def test_what_is_expected_makes_no_other_teacher(recipe: Path) -> None:
    plain = load(recipe)
    other = load(recipe, overrides=["nat_teacher.expected_accuracy=93.18"])
    assert other.nat_teacher.expected_accuracy == 93.18
    assert teacher_key(other, "nat_teacher") == teacher_key(plain, "nat_teacher")


HOLD = """
import sys, time
from kmtard.runs.files import lock_for_life
lock_for_life(sys.argv[1])
print(flush=True)
time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process, which trains the teacher `a.weights.h5`."""
    lock = tmp_path / ".a.weights.h5.lock"
    command = [sys.executable, "-c", HOLD, lock]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_run_waits_for_the_teacher_that_another_one_trains(
    tmp_path: Path,
    other: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(teachers, "PAUSE", 0.01)
    cached, lines, looks = tmp_path / "a.weights.h5", [], []

    def finish_at_the_third_look() -> None:
        looks.append(cached.exists())
        if len(looks) == 3:
            cached.touch()

    mine = wait_for_turn(cached, "adv_teacher", finish_at_the_third_look, lines.append)
    assert not mine and looks == [False] * 3 and other.poll() is None
    [line] = lines
    assert line.startswith("robust teacher: another run trains it")


def test_a_run_takes_over_where_the_other_one_was_killed(
    tmp_path: Path,
    other: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(teachers, "PAUSE", 0.01)
    cached = tmp_path / "a.weights.h5"
    assert wait_for_turn(cached, "nat_teacher", other.kill, lambda line: None)
    assert wait_for_turn(cached, "nat_teacher", other.kill, lambda line: None)


def test_a_run_that_waits_can_be_stopped(
    tmp_path: Path, other: subprocess.Popen[bytes]
) -> None:
    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        wait_for_turn(tmp_path / "a.weights.h5", "nat_teacher", stop, lambda line: None)
    assert other.poll() is None
