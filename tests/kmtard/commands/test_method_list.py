"""`--list-methods`: one line per method, with its settings in a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtard import registry
from kmtard.commands.fit import main

pytestmark = pytest.mark.once("torch")

DIGITS = Path(__file__).parents[3] / "recipes" / "digits.toml"


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, str]:
    assert main([*arguments, "--list-methods"]) == 0
    return dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())


def test_every_method_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    found = lines(capsys)
    assert list(found) == list(registry.METHODS)
    assert "TRADES (Zhang et al., ICML 2019)" in found["trades"]
    assert "beta=6.0" in found["trades"]
    assert "needs" not in found["trades"]
    assert "needs robust teacher" in found["rslad"]
    assert "needs clean teacher and robust teacher" in found["b_mtard"]


def test_recipe_settings_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    found = lines(capsys, str(DIGITS))
    assert "begin=6 " in found["iad"]
    assert "learning_rate=0.05 weight_decay=0.0005" in found["score"]
    assert "nesterov epochs=20 milestones=14,17" in found["fair_ard"]
    assert "nesterov" not in found["ard"]


def test_wrong_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no.toml", "--list-methods"]) == 2
    assert "no.toml" in capsys.readouterr().err
