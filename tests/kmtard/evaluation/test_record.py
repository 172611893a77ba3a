"""Where an evaluation is written, and what it is added to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmtard.evaluation.record import Record, record_name
from kmtard.evaluation.result import Column, Evaluation, NetworkEvaluation
from kmtard.runs.files import RunError
from kmtard.runs.results import NewerSchemaError, read_all, read_results

pytestmark = pytest.mark.once("torch")

ANSWERS = np.array([True, False])
CONDITIONS = {
    **{"images": "abc", "seed": 0, "epsilon": 0.1, "step_size": None, "steps": 20},
    "backend": "jax",
}
OTHERS = {**CONDITIONS, "seed": 1}
ROW = {
    "role": "student",
    "clean_accuracy": 0.5,
    "robust_accuracy": {"fgsm": 0.25},
    "w_robust_accuracy": {"fgsm": 0.375},
    "seconds": None,
}
OF_TRAINING = {"images": 2, "attacks": {}, "rows": [ROW]}


def made(
    *attacks: str, conditions: dict[str, Any] = CONDITIONS, weights: str = "w"
) -> Evaluation:
    columns = {name: Column(ANSWERS, {}) for name in attacks}
    clean = Column(ANSWERS, {})
    network = NetworkEvaluation("student", "net", clean, columns, weights=weights)
    return Evaluation("digits", np.array([0, 1]), (network,), conditions, {})


def written(folder: Path, evaluation: Evaluation, own: bool | None = None) -> Path:
    record = Record.of(folder, 2, evaluation.conditions, own)
    record.write(evaluation)
    return record.path


def test_first_evaluation_is_evaluation_json(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert written(folder, made("fgsm")) == folder / "evaluation.json"
    assert read_results(folder).attacks == ["fgsm"]


def test_equal_conditions_share_a_record(tmp_path: Path) -> None:
    written(tmp_path, made("fgsm"))
    written(tmp_path, made("square"))
    assert read_results(tmp_path).attacks == ["fgsm", "square"]
    written(tmp_path, made("ge", weights="trained on"))
    assert read_results(tmp_path).attacks == ["ge"]
    assert [path.name for path in (tmp_path / "evaluation").glob("*.json")] == []


def test_other_conditions_never_mix(tmp_path: Path) -> None:
    written(tmp_path, made("fgsm"))
    path = written(tmp_path, made("square", conditions=OTHERS))
    assert path.parent == tmp_path / "evaluation"
    written(tmp_path, made("ge", conditions=OTHERS))
    (first, second), _ = read_all(tmp_path)
    assert (first.attacks, first.conditions) == (["fgsm"], CONDITIONS)
    assert (second.attacks, second.conditions) == (["square", "ge"], OTHERS)
    assert Evaluation.load(path).conditions == OTHERS


def test_run_owns_evaluation_json(tmp_path: Path) -> None:
    written(tmp_path, made("fgsm", conditions=OTHERS), own=False)
    assert not (tmp_path / "evaluation.json").exists()
    written(tmp_path, made("square", conditions=OTHERS))
    written(tmp_path, made("ge"), own=True)
    (first, second), _ = read_all(tmp_path)
    assert (first.attacks, first.conditions) == (["ge"], CONDITIONS)
    assert (second.attacks, second.conditions) == (["fgsm"], OTHERS)


def test_file_of_version_0_1_is_kept_aside(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(OF_TRAINING))
    written(tmp_path, made("square", conditions=OTHERS), own=False)
    assert json.loads(path.read_text()) == OF_TRAINING
    written(tmp_path, made("square"), own=True)
    assert read_results(tmp_path).attacks == ["square"]
    kept = tmp_path / "evaluation" / "version-0.1.json"
    assert json.loads(kept.read_text()) == OF_TRAINING
    found, problems = read_all(tmp_path)
    assert problems == []
    assert [each.student.w_robust for each in found if each.path == kept] == [0.375]


def test_damaged_file_is_replaced(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"schema": 2}'):
        (tmp_path / "evaluation.json").write_text(text)
        written(tmp_path, made("fgsm"))
        assert read_results(tmp_path).attacks == ["fgsm"]


def test_file_of_a_newer_version_stops_before_anything_is_computed(
    tmp_path: Path,
) -> None:
    (tmp_path / "evaluation.json").write_text('{"schema": 99}')
    for own in (True, None):
        with pytest.raises(NewerSchemaError, match="schema 99"):
            Record.of(tmp_path, 2, CONDITIONS, own)


def test_pictures_of_another_student_are_removed(tmp_path: Path) -> None:
    evaluation = made("fgsm")
    record = Record.of(tmp_path, 2, CONDITIONS, None)
    folder = record.pictures_of("w")
    assert folder == tmp_path / "evaluation" / "images"
    folder.mkdir()
    record.write(evaluation)
    again = Record.of(tmp_path, 2, CONDITIONS, None)
    assert again.pictures_of("w").exists()
    assert not again.pictures_of("v").exists()
    other = Record.of(tmp_path, 2, OTHERS, None)
    assert other.pictures == other.path.with_suffix("")
    content = json.loads((tmp_path / "evaluation.json").read_text())
    assert content["pictures"] is None, "none was kept"


def test_name_tells_the_conditions() -> None:
    name = record_name(100, {**CONDITIONS, "epsilon": 8 / 255})
    assert name.startswith("100-images-epsilon-0.0314-seed-0-jax-")
    assert record_name(100, CONDITIONS) != record_name(100, {**CONDITIONS, "steps": 5})
    assert record_name(100, CONDITIONS) == record_name(100, dict(CONDITIONS))


def test_one_process_at_a_time(tmp_path: Path) -> None:
    Record.of(tmp_path, 2, CONDITIONS, None)
    code = (
        "import sys; from kmtard.evaluation.record import Record\n"
        f"Record.of(sys.argv[1], 2, {CONDITIONS!r}, None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert "another process" in done.stderr


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="Cannot create"):
        Record.of(tmp_path / "file", 2, CONDITIONS, None)


@pytest.mark.parametrize(
    "name",
    ["evaluation.json", "evaluation", "evaluation/images", "evaluation/batches"],
)
def test_a_link_in_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    mine, folder = tmp_path / "mine", tmp_path / "run"
    mine.mkdir()
    (mine / "photo.png").write_text("precious")
    link = folder / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(mine)
    with pytest.raises(RunError, match="received a link"):
        Record.of(folder, 2, CONDITIONS, None)
    assert [path.name for path in mine.iterdir()] == ["photo.png"]
