"""A hardening as a whole, in miniature."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import kmtard
from kmtard.data.image_folder import image_folder
from kmtard.hardening.hardening import Work
from kmtard.hardening.plan import Request, recipe_of
from kmtard.recipe import load
from kmtard.runs import Run, RunError
from kmtard.training.stopping import Stopped

pytestmark = pytest.mark.once("torch")

SMALL = (
    "adv_teacher.method.schedule.epochs=2",
    "adv_teacher.method.schedule.milestones=[1]",
    "schedule.epochs=2",
    "schedule.milestones=[1]",
    "attack.steps=2",
    "evaluation.steps=2",
    'evaluation.attacks=["pgd_trades"]',
    "data.held_out=0.25",
    "data.class_weights=balanced",
)


def test_a_model_goes_in_and_a_hardened_one_comes_out(
    model_file: Path, photos: Path, tmp_path: Path
) -> None:
    """Images of another size are brought to the model's."""
    wide = Image.open(photos / "dark" / "00.png").resize((20, 10))
    wide.save(photos / "dark" / "00.png")
    told: list[str] = []
    found = kmtard.harden(
        model_file,
        photos,
        epsilon=0.05,
        hours=0.05,
        runs_dir=tmp_path / "runs",
        overrides=SMALL,
        tell=told.append,
    )
    text = "\n".join(told)
    assert "values from 0 to 255 (Rescaling" in text
    assert "1 of 40 images are scaled and cropped" in text
    assert "images are scaled from [0, 1] to [0, 255]" in text
    hardened = keras.models.load_model(found.model)
    image = np.full((1, 8, 8, 3), 200.0)
    [answer] = hardened.predict(image, verbose=0)
    assert answer.sum() == pytest.approx(1, abs=1e-5)
    assert hardened.input_shape == (None, 8, 8, 3)
    teacher = keras.models.load_model(found.run / "robust-teacher.keras")
    [other] = teacher.predict(image, verbose=0)
    assert other.sum() == pytest.approx(1, abs=1e-5)
    assert not np.allclose(other, answer, atol=1e-7), "the weights of the student"
    assert 0 <= found.after["robust"] <= found.after["clean"] <= 1

    run = Run.open(found.run)
    assert run.state() == "finished"
    lines = (found.run / "split.csv").read_text().splitlines()
    parts = [line.partition(",")[0] for line in lines[1:]]
    assert {each: parts.count(each) for each in parts} == {
        "train": 24,
        "held_out": 8,
        "test": 8,
    }
    page = found.report.read_text()
    for words in ("Before and after", "bright", "mixture, 50% hardened", "no proof",
                  "robust-teacher.keras"):  # fmt: skip
        assert words in page
    # The recipe alone gives the same run again.
    recipe = load(run.recipe_path)
    assert recipe.student.network == str(model_file)

    work = Work.of_run(run, recipe)
    again = work.carry_out(run, told.append)
    assert (again.before, again.after) == (found.before, found.after)
    model_file.write_bytes(b"another model")
    with pytest.raises(RunError, match="as it was when"):
        Work.of_run(run, recipe)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 8}, "epsilon above 0 and at most 1.*Received: 8"),
        ({"hours": 0}, "hours above 0"),
        ({"model": "missing.keras"}, "which does not exist"),
        ({"model": 7}, "Received: int"),
        ({"data": "nowhere"}, "'nowhere', which does not exist"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(
    change: dict, message: str, model_file: Path, photos: Path, tmp_path: Path
) -> None:
    given = {"model": model_file, "data": photos, **change}
    with pytest.raises(RunError, match=message):
        kmtard.harden(
            given.pop("model"),
            given.pop("data"),
            runs_dir=tmp_path / "runs",
            tell=lambda text: None,
            **given,
        )
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("error", "state"), [(Stopped(), "stopped"), (RunError("no disk"), "failed")]
)
def test_a_run_that_ends_early_says_so_and_can_go_on(
    error: Exception,
    state: str,
    model_file: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = Request(
        model=str(model_file),
        data="image_folder",
        directory=str(photos),
        runs_dir=str(tmp_path / "runs"),
        overrides=("runtime.backend=jax",),
    )
    recipe = recipe_of(request, image_folder(str(photos)), mirrors=False)
    work = Work(recipe, model_file, (0.0, 255.0), ("a line",), 0.1, "harden")
    run = work.create({"backend": "jax"})

    def end(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("kmtard.training.execution.train", end)
    with pytest.raises(type(error)):
        work.carry_out(run, lambda text: None)
    assert run.state() == state
    assert Work.of_run(Run.open(run.path), recipe) == work


def test_another_run_is_no_hardening(tmp_path: Path) -> None:
    recipe = load(Path(__file__).parents[3] / "recipes" / "digits.toml")
    run = Run.create(tmp_path, "other", recipe.to_toml(), {})
    with pytest.raises(RunError, match="a run of `kmtard harden`"):
        Work.of_run(run, recipe)
