"""The scripts in examples/ run, on few images."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import keras
import pytest

pytestmark = pytest.mark.once("torch")

EXAMPLES = Path(__file__).parents[1] / "examples"


def main_of(name: str) -> Any:
    return runpy.run_path(str(EXAMPLES / name))["main"]


def test_distill_and_evaluate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "student.keras")
    main_of("distill_student.py")(["--epochs=1", "--limit=64", f"--output={path}"])
    assert "W-Robust accuracy: " in capsys.readouterr().out
    assert keras.models.load_model(path).output_shape == (None, 10)
    main_of("evaluate_model.py")([path, "--attacks=fgsm,pgd_trades", "--limit=32"])
    shown = capsys.readouterr().out
    assert "| pgd_trades" in shown
    assert "The strongest attack is " in shown


def test_write_a_method(capsys: pytest.CaptureFixture[str]) -> None:
    main_of("write_method.py")(["--epochs=1", "--limit=64"])
    assert "pairing in the last epoch: " in capsys.readouterr().out


def test_every_example_is_tested_and_named_in_the_readme() -> None:
    readme = (EXAMPLES.parent / "README.md").read_text()
    tests = Path(__file__).read_text()
    for script in EXAMPLES.glob("*.py"):
        assert f"examples/{script.name}" in readme
        assert f'"{script.name}"' in tests
