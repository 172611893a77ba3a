"""The examples in docstrings run, and show what they print."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kmtard
from kmtard.attacks import Attack

pytestmark = pytest.mark.once("torch")

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^( *)```python\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
FENCED = "```python\n"
# These need data, a GPU, or a terminal.
WITHOUT_EXAMPLES = ("kmtard.benchmarks", "kmtard.backend.")


def modules() -> list[str]:
    """Return every module whose import is harmless on any backend."""
    found = pkgutil.walk_packages(kmtard.__path__, "kmtard.")
    return [each.name for each in found if not each.name.startswith(WITHOUT_EXAMPLES)]


def docstrings(module: Any) -> dict[str, str]:
    """Return the docstrings of a module, its classes, methods and functions."""
    found = {module.__name__: module.__doc__ or ""}
    for name, each in vars(module).items():
        if getattr(each, "__module__", None) != module.__name__:
            continue
        members = [(name, each)]
        if inspect.isclass(each):
            members += [(f"{name}.{key}", part) for key, part in vars(each).items()]
        for path, part in members:
            found[f"{module.__name__}.{path}"] = inspect.getdoc(part) or ""
    return found


def examples() -> list[tuple[str, str]]:
    """Return the place of each example, and the docstring that contains it.

    Files without an example are not imported: some of them need a backend.
    """
    found = []
    for name in modules():
        source = Path(importlib.util.find_spec(name).origin or "")
        if source.suffix == ".py" and re.search(r">>> |```python", source.read_text()):
            every = docstrings(importlib.import_module(name)).items()
            found += [(where, text) for where, text in every if has_example(text)]
    return found


def has_example(text: str) -> bool:
    return ">>> " in text or FENCED in text


EXAMPLES = dict(examples())


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """Names that an example may use without importing them."""
    data = kmtard.data.digits()
    x = data.test.images[:8].astype("float32") / 255
    model, teacher = (kmtard.networks.small_cnn(10, (8, 8, 1)) for _ in range(2))
    # Images that are misclassified without an attack would cost an attack nothing.
    y = model.predict(x, verbose=0).argmin(-1)
    shared = {"model": model, "student": model, "teacher": teacher, "x": x, "y": y}
    return {"kmtard": kmtard, "keras": keras, "np": np, **shared}


@pytest.mark.parametrize("where", EXAMPLES)
def test_example_runs(
    where: str,
    names: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.chdir(tmp_path)
    text = EXAMPLES[where]
    module = where
    while module not in modules():
        module = module.rpartition(".")[0]
    scope = {**vars(importlib.import_module(module)), **names}
    for _, code in FENCE.findall(text):
        exec(compile(inspect.cleandoc(code), where, "exec"), dict(scope))
    test = doctest.DocTestParser().get_doctest(text, scope, where, None, 0)
    shown: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=shown.append)
    assert not shown, "".join(shown)


def test_every_attack_has_an_example() -> None:
    public = (getattr(kmtard.attacks, name) for name in kmtard.attacks.__all__)
    attacks = {each for each in public if inspect.isclass(each)}
    for attack in attacks - {Attack, kmtard.attacks.AttackResult}:
        assert f"kmtard.attacks.{attack.__name__}(" in (attack.__doc__ or "")
