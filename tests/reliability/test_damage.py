"""Damaged run folders: a resume or an evaluation is correct, or names the file."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kmtard.data.arrays import open_arrays
from kmtard.runs import Run, RunError
from kmtard.runs.intact import check_intact
from tests.reliability.children import Children, Ended, only_run, spread
from tests.reliability.conftest import Unbroken
from tests.reliability.damage import (
    Damage,
    all_damages,
    cuts,
    flips,
    put_back,
    replacements,
)
from tests.reliability.seeds import seeded, seeds
from tests.reliability.server import prepare
from tests.run_facts import facts, weights

pytestmark = pytest.mark.once("jax")


def content_of(path: Path) -> Any:
    """Return the content under a checksum.

    Raises:
        RunError, ValueError: the file is damaged.
    """
    if path.suffix == ".npz":
        if path.is_symlink():
            raise ValueError
        with open_arrays(path) as arrays:
            return {name: value.tobytes() for name, value in arrays.items()}
    check_intact(path, "")
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    return weights(path, "")


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds(1))
def test_damaged_arrays_are_found(
    unbroken: Unbroken, tmp_path: Path, seed: int
) -> None:
    run = Run(shutil.copytree(unbroken.run.path, tmp_path / "a"))
    files = [
        path
        for pattern in ("*.npz", "*.keras", "*.h5")
        for path in sorted(run.path.rglob(pattern))
    ]
    assert len(files) >= 8
    accepted = 0
    with seeded(seed) as random:
        for path in files:
            whole, right = path.read_bytes(), content_of(path)
            for name, damage in all_damages(len(whole), random, 60):
                damage(path)
                try:
                    found = content_of(path)
                except (OSError, RunError, ValueError, KeyError):
                    continue
                finally:
                    put_back(path, whole)
                accepted += 1
                assert found == right, f"{path.name} {name}"
    # Harmless damages are a link to the file, and bits that no reader uses.
    assert accepted


def one_of_each(
    names: list[str], folder: Path, random: Random
) -> Iterator[tuple[str, str, Damage]]:
    """Yield a cut, a flipped bit and each replacement, for each file."""
    for name in names:
        size = (folder / name).stat().st_size
        for kind, damage in (
            random.choice(list(cuts(size))),
            *flips(size, 1, random),
            *replacements(),
        ):
            yield name, kind, damage


def broken_run(children: Children, unbroken: Unbroken, folder: Path) -> Run:
    """Return a run killed in its student's last epoch, with two resume points."""
    prepare(folder)
    last = unbroken.places()["rename npz"][4]
    ended = children.resume(folder, fault={"kind": "kill", "at": last})
    assert ended.code < 0, ended.text
    run = only_run(folder)
    assert len(list((run.checkpoints / "student").glob("0*.npz"))) == 2
    return run


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds(1))
def test_a_resume_uses_an_older_point_or_names_the_file(
    children: Children,
    unbroken: Unbroken,
    tmp_path: Path,
    seed: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    template = tmp_path / "template"
    run = broken_run(children, unbroken, template)
    place = run.path.relative_to(template)
    newest = max((run.checkpoints / "student").glob("0*.npz")).name

    def check(children: Children, folder: Path, case: tuple[str, str, Damage]) -> None:
        name, _, damage = case
        shutil.copytree(template, folder)
        damage(folder / name)
        ended = children("fit", "--resume", folder / place, cwd=folder)
        check_told(ended, name)
        if ended.code:
            return
        # These files are no longer read once the teacher is in the cache.
        if "adv_teacher" in name:
            put_back(folder / name, (template / name).read_bytes())
        found = facts(Run(folder / place), repeats=True)
        for key, value in found.items():
            assert value == unbroken.facts[key], key
        # Only a damaged event may be missing.
        missing = unbroken.facts.keys() - found.keys()
        assert all(" epoch " in key for key in missing), missing
        if name.endswith(f"student/{newest}"):
            assert "warning: continues from the older" in ended.text, ended.text

    files = [*sorted(run.path.rglob("*")), *(template / "teachers").iterdir()]
    names = [
        str(path.relative_to(template))
        for path in files
        if path.is_file() and path.name not in (".lock", "out.log")
    ]
    check_all(names, template, check, tmp_path, seed, capsys)


def check_told(ended: Ended, name: str) -> None:
    """Check that a failed command named the file, without a traceback."""
    assert "Traceback" not in ended.text, ended.text
    if ended.code:
        assert ended.code in (1, 2), ended.text
        assert Path(name).name in ended.text.replace("\n", ""), ended.text


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds(1))
def test_an_evaluation_is_correct_or_names_the_file(
    unbroken: Unbroken, tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    template = unbroken.run.path.parents[1]
    place = unbroken.run.path.relative_to(template)
    right = student_of(unbroken.facts["evaluation"])

    def check(children: Children, folder: Path, case: tuple[str, str, Damage]) -> None:
        name, _, damage = case
        shutil.copytree(template, folder)
        damage(folder / name)
        ended = children("evaluate", folder / place, cwd=folder)
        check_told(ended, name)
        if not ended.code:
            found = json.loads((folder / place / "evaluation.json").read_text())
            assert student_of(found) == right

    batches = unbroken.run.path / "evaluation" / "batches"
    names = [
        str(path.relative_to(template))
        for path in (
            unbroken.run.recipe_path,
            unbroken.run.info_path,
            unbroken.run.events_path,
            unbroken.run.evaluation_path,
            unbroken.run.best / "student.keras",
            *sorted(batches.glob("*/*.npz"))[::2],
            *sorted(batches.glob("*/settings.json"))[:1],
        )
    ]
    check_all(names, template, check, tmp_path, seed, capsys)


def student_of(record: Mapping[str, Any]) -> list[Any]:
    """Return the student's outcome and prediction for each image of a record."""
    [student] = [each for each in record["networks"] if each["role"] == "student"]
    columns = student["clean"], student["attacks"]["fgsm"]
    return [(each["accuracy"], each["predictions"]) for each in columns]


def check_all(
    names: list[str],
    template: Path,
    check: Callable[[Children, Path, tuple[str, str, Damage]], None],
    folder: Path,
    seed: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Check one damage of each kind to each file."""
    with seeded(seed) as random:
        cases = list(one_of_each(names, template, random))
        losses = spread(cases, check, folder)
        with capsys.disabled():
            print(f"\n{len(cases)} damaged files, {len(losses)} losses")
        assert not losses, "\n\n".join(losses)
