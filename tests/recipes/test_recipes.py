"""Every shipped recipe loads with every method, and digits does what it says."""

import json
from pathlib import Path

import keras
import pytest

from kmtard import fit, registry
from kmtard.recipe import load

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


@pytest.mark.parametrize("method", registry.METHODS)
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_method_loads(path, method):
    assert load(path, method=method).method.name == method


@pytest.mark.slow
def test_digits(tmp_path):
    folders = [
        f"--set=runtime.{key}={tmp_path / key}" for key in ("runs_dir", "cache_dir")
    ]
    backend = f"--set=runtime.backend={keras.backend.backend()}"
    (path,) = (path for path in RECIPES if path.stem == "digits")
    assert fit.main([str(path), *folders, backend]) == 0
    (evaluation,) = (tmp_path / "runs_dir").glob("*/evaluation.json")
    scores = {
        row["role"]: (row["robust_accuracy"]["pgd_trades"], row["w_robust_accuracy"])
        for row in json.loads(evaluation.read_text())["rows"]
    }
    assert scores["nat_teacher"][0] < 0.4
    assert scores["adv_teacher"][0] > 0.75
    gain = scores["student"][1]["pgd_trades"] - scores["nat_teacher"][1]["pgd_trades"]
    assert gain > 0.15
