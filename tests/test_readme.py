"""The README's Python and commands run as written, and it stays short."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import pytest

from kmtard import backend
from kmtard.commands.main import COMMANDS

pytestmark = pytest.mark.once("torch")

README = Path(__file__).parents[1] / "README.md"


def test_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    # Without XLA, TensorFlow is ready a minute earlier; other tests compile with it.
    if keras.backend.backend() == "tensorflow":
        monkeypatch.setattr(backend, "JIT_COMPILE", False)
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(code, str(README), "exec"), names)  # noqa: S102
    student = keras.models.load_model("student.keras")
    assert student.output_shape == (None, 10)
    scores = names["model"].evaluate(*names["test"], verbose=0, return_dict=True)
    assert scores["clean_accuracy"] > 0.6


def test_it_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 200


@pytest.mark.parametrize("target", ["demo", "check", "docs"])
def test_targets_exist(target: str) -> None:
    makefile = (README.parent / "Makefile").read_text()
    assert f"make {target}" in README.read_text()
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_commands_exist() -> None:
    named = set(re.findall(r"^kmtard (\w+)", README.read_text(), re.MULTILINE))
    assert {"fit", "evaluate", "report"} <= named <= set(COMMANDS)
