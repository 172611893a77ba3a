"""No diagnostic doubts a student that a method of the package has trained.

`KMTARD_RUNS=FOLDER` reads the runs in a folder, such as `runs/table` of `make
digits-table`, and trains nothing. Without it, every method is trained on the digits.
"""

from __future__ import annotations

import os
from pathlib import Path

import keras
import pytest

from kmtard import fit, registry
from kmtard.recipe import load
from kmtard.registry import canonical
from kmtard.runs.files import RunError
from kmtard.runs.folder import Run, list_runs
from kmtard.runs.results import read_results
from kmtard.runs.verdict import cause_of

RECIPE = Path(__file__).parents[4] / "recipes" / "digits.toml"
ATTACKS = ("fgsm", "pgd_trades", "apgd_ce", "square_100")
SEEDS = (0, 1)
# Natural training is the one that is not robust: at a radius that leaves no image, the
# attacks cannot be compared.
METHODS = [name for name in registry.METHODS if name != "natural"]

Key = tuple[str, int]


def known_runs(folder: Path) -> dict[Key, Run]:
    """Return (method, seed) -> run of the evaluated runs in a folder."""
    found = {}
    for run in list_runs(folder):
        if run.evaluation_path.exists():
            recipe = load(run.recipe_path)
            found[canonical("methods", recipe.method.name), recipe.runtime.seed] = run
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the runs and of the teachers that they share."""
    given = os.environ.get("KMTARD_RUNS")
    return Path(given) if given else tmp_path_factory.mktemp("runs")


@pytest.mark.slow
@pytest.mark.once("jax")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("method", METHODS)
def test_a_trained_student_is_not_doubted(method: str, seed: int, folder: Path) -> None:
    if not os.environ.get("KMTARD_RUNS"):
        settings = {
            "runtime.runs_dir": folder,
            "runtime.cache_dir": folder / "teachers",
            "runtime.backend": keras.backend.backend(),
            "runtime.seed": seed,
            "evaluation.attacks": list(ATTACKS),
        }
        words = [f"--set={key}={value}" for key, value in settings.items()]
        assert fit.main([str(RECIPE), "--method", method, *words]) == 0
    run = known_runs(folder).get((method, seed))
    if run is None:
        raise RunError(
            f"Expected an evaluated run of {method} with seed {seed} in {folder}. "
            "Train it, or leave out KMTARD_RUNS."
        )
    findings = read_results(run.path).student.findings
    # Others only inform, such as `few-classes`.
    assert [each for each in findings if cause_of(each) is not None] == []
