"""The best student: when it is replaced, and that its file is always complete."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import keras
import pytest

from kmtard.runs.files import RunError, replaced
from kmtard.training.callbacks import BestStudent

METRIC = "val_w_robust_accuracy"


class Student:
    """Saves a text instead of weights."""

    text = ""
    broken = False
    variables: tuple[keras.Variable, ...] = ()

    def save(self, path: Path) -> None:
        path.write_text(f"whole {self.text}"[: 5 if self.broken else None])
        if self.broken:
            raise OSError("No space left on device")

    def save_weights(self, path: Path) -> None:
        path.write_text(f"weights {self.text}")


@pytest.fixture
def student() -> Student:
    return Student()


def keeper(path: Path, student: Student) -> BestStudent:
    callback = BestStudent(path, replaced)
    callback.set_model(SimpleNamespace(trained_networks={"student": student}))
    return callback


def end_epochs(callback: BestStudent, student: Student, *scores: float | None) -> None:
    for epoch, score in enumerate(scores):
        student.text = f"epoch {epoch + 1}"
        callback.on_epoch_end(epoch, {} if score is None else {METRIC: score})


def test_only_a_strictly_larger_score_replaces_the_student(
    tmp_path: Path, student: Student
) -> None:
    callback = keeper(tmp_path / "student.keras", student)
    end_epochs(callback, student, 0.3, None, 0.5, 0.5, 0.4)
    assert callback.path.read_text() == "whole epoch 3"
    assert callback.state == {"score": 0.5, "epoch": 3}


def test_a_score_of_zero_is_better_than_none(tmp_path: Path, student: Student) -> None:
    callback = keeper(tmp_path / "student.keras", student)
    end_epochs(callback, student, None, 0.0)
    assert callback.state == {"score": 0.0, "epoch": 2}


def test_a_score_that_is_no_number_is_passed_over(
    tmp_path: Path, student: Student
) -> None:
    callback = keeper(tmp_path / "student.keras", student)
    end_epochs(callback, student, float("nan"))
    assert callback.state == {"score": None, "epoch": None}
    assert list(tmp_path.iterdir()) == []
    end_epochs(callback, student, 0.1, float("nan"))
    assert callback.state == {"score": 0.1, "epoch": 1}


def test_best_score_put_back_by_a_resume_still_counts(
    tmp_path: Path, student: Student
) -> None:
    callback = keeper(tmp_path / "student.keras", student)
    callback.state = {"score": 0.5, "epoch": 7}
    end_epochs(callback, student, 0.5)
    assert not callback.path.exists()
    end_epochs(callback, student, 0.6)
    assert callback.state == {"score": 0.6, "epoch": 1}


def test_weights_alone_where_the_name_asks_for_them(
    tmp_path: Path, student: Student
) -> None:
    callback = keeper(tmp_path / "teacher.weights.h5", student)
    end_epochs(callback, student, 0.5)
    content = callback.path.read_text()
    assert content.startswith("weights epoch 1\nkmtard sha256 ")
    assert list(tmp_path.iterdir()) == [callback.path]


def test_save_that_fails_leaves_the_old_file_and_score(
    tmp_path: Path, student: Student
) -> None:
    callback = keeper(tmp_path / "student.keras", student)
    end_epochs(callback, student, 0.3)
    student.broken = True
    with pytest.raises(RunError, match=r"student\.keras: No space"):
        end_epochs(callback, student, 0.4)
    assert callback.path.read_text() == "whole epoch 1"
    assert callback.state == {"score": 0.3, "epoch": 1}


def test_weights_that_are_not_finite_are_never_the_best(
    tmp_path: Path, student: Student
) -> None:
    callback = keeper(tmp_path / "student.keras", student)
    end_epochs(callback, student, 0.3)
    student.variables = (keras.Variable([1.0, float("nan")]),)
    end_epochs(callback, student, 0.5)
    assert callback.path.read_text() == "whole epoch 1"
    assert callback.state == {"score": 0.3, "epoch": 1}
