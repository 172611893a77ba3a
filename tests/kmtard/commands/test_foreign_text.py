"""Commands show text from other people without interpreting it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kmtard.commands import evaluate, fit
from kmtard.runs import Run
from kmtard.runs.results import read_results
from tests.run_folders import RECIPE

pytestmark = pytest.mark.once("torch")

HOSTILE = "\x1b]0;title\x07\x1b[31m\u202e[bold]x"
TOML = json.dumps(HOSTILE)
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def shown(capsys: Capture) -> Callable[[], str]:
    """Return a function that returns what was printed, checked."""

    def read() -> str:
        printed = "".join(capsys.readouterr())
        assert not set(HOSTILE) & {"\x1b", "\x07", "\u202e"} & set(printed)
        # Markup stands there as it is.
        assert "[bold]x" in printed
        return printed

    return read


@pytest.mark.parametrize(
    "text",
    [
        f"[optimizer]\n{TOML} = 1\n",
        f"[optimizer]\nname = {TOML}\n",
        f"[{TOML}]\na = 1\n",
        f"[data]\nname = {TOML}\nname = 1\n",
    ],
)
def test_mistakes_of_a_recipe(
    tmp_path: Path, shown: Callable[[], str], text: str
) -> None:
    path = tmp_path / "[bold]x.toml"
    path.write_text(text)
    assert fit.main([str(path)]) == 2
    shown()


def test_where_a_teacher_comes_from(tmp_path: Path, shown: Callable[[], str]) -> None:
    text = RECIPE.read_text()
    assert "train = true" in text
    path = tmp_path / "digits.toml"
    path.write_text(
        text.replace("train = true", f'weights = "none.h5"\nsource = {TOML}', 1)
    )
    assert fit.main([str(path)]) == 2
    assert "none.h5" in shown()


def test_names_of_files(tmp_path: Path, shown: Callable[[], str]) -> None:
    path = tmp_path / HOSTILE
    path.mkdir()
    assert fit.main(["--resume", str(path)]) == 1
    shown()
    assert evaluate.main([str(path)]) == 2
    shown()
    shutil.copy(RECIPE, path / "recipe.toml")
    assert fit.main([str(path / "none.toml")]) == 2
    shown()


def test_warnings_of_an_evaluation(
    evaluated: Callable[..., Path], shown: Callable[[], str]
) -> None:
    path = evaluated(0)
    content = json.loads((path / "evaluation.json").read_text())
    for network in content["networks"]:
        network["findings"] = [{"name": HOSTILE, "message": HOSTILE}]
    (path / "evaluation.json").write_text(json.dumps(content))
    evaluate._show([read_results(path)], per_class=True)
    assert "warning: " in shown()


def test_a_run_that_cannot_be_claimed(
    make_run: Callable[..., Run], shown: Callable[[], str]
) -> None:
    run = make_run()
    run.events_path.unlink()
    run.info_path.write_text(json.dumps({"pid": 1, "host": HOSTILE}))
    assert fit.main(["--resume", str(run.path)]) != 0
    shown()
