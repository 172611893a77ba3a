"""The pages of the documentation: their Python runs, their parts are complete."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kmtard
from kmtard import fit, registry
from kmtard.commands.fit import run_name
from kmtard.recipe import load
from kmtard.recipe.schema import Recipe
from kmtard.runs import list_runs

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
OWN_METHOD = "own-method.md"
RUN_NAME = r"b_mtard-s0-[0-9a-f]{4}-digits"


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.M)


PAGES = [page for page in sorted(DOCS.glob("*.md")) if python_blocks(page)]


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """Names that the pages use without importing them."""
    data = kmtard.data.digits()
    x = data.test.images[:8].astype("float32") / 255
    model = kmtard.networks.small_cnn(10, (8, 8, 1))
    # Images that are misclassified without an attack would cost an attack nothing.
    y = model.predict(x, verbose=0).argmin(-1)
    return {"kmtard": kmtard, "keras": keras, "model": model, "x": x, "y": y}


@pytest.mark.once("torch")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_of_a_page_runs(
    page: Path, names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scope = {"__name__": page.stem.replace("-", "_"), **names}
    for code in python_blocks(page):
        exec(compile(code, str(page), "exec"), scope)  # noqa: S102


@pytest.mark.once("torch")
def test_run_names_are_those_that_the_digits_recipe_gives() -> None:
    path = "recipes/digits.toml"
    pages = [ROOT / "CHANGELOG.md", *DOCS.glob("*.md")]
    found = {name for page in pages for name in re.findall(RUN_NAME, page.read_text())}
    assert found == {run_name(load(ROOT / path), path)}


def test_method_of_your_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = python_blocks(DOCS / OWN_METHOD)
    package = tmp_path / "mypackage"
    package.mkdir()
    # Under another name than on the page, which another test has registered.
    (package / "pairing.py").write_text(code.replace('"mypackage"', '"mypackage2"'))
    assert len(code[code.index("class ") :].splitlines()) < 30
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    name = "mypackage.pairing:LogitPairing"
    settings = {
        "runtime.backend": keras.backend.backend(),
        "runtime.jit": '"auto"' if keras.backend.backend() == "jax" else "false",
        "method.weight": "0.25",
    }
    overrides = [f"--set={key}={value}" for key, value in settings.items()]
    recipe = ROOT / "recipes" / "digits.toml"
    assert fit.main([str(recipe), "--smoke", "--method", name, *overrides]) == 0
    [run] = list_runs("runs")
    assert "weight = 0.25" in run.recipe_path.read_text()
    [*_, last] = [event for event in run.events().poll() if event["event"] == "epoch"]
    assert last["metrics"]["pairing"] > 0
    assert (run.best / "student.keras").exists()


def hooks() -> Any:
    spec = importlib.util.spec_from_file_location("docs_hooks", DOCS / "hooks.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.once("torch")
def test_every_key_of_a_recipe_is_documented() -> None:
    page = hooks().on_page_markdown((DOCS / "recipe-reference.md").read_text())
    assert "<!--" not in page
    for section, info in Recipe.model_fields.items():
        assert section in page
        for key in getattr(info.annotation, "model_fields", ()):
            assert f"| `{key}` |" in page
    assert "| `epsilon` | number, >= 0, <= 1 | required | Radius" in page
    assert '| `selection` | `"test"` or `"held_out"` | `"held_out"` |' in page


@pytest.mark.once("torch")
def test_a_section_without_documentation_stops_the_build(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = hooks()
    monkeypatch.delitem(module.SECTIONS, "attack")
    with pytest.raises(LookupError, match="attack"):
        list(module.recipe_keys())


@pytest.mark.once("torch")
def test_every_finding_is_documented() -> None:
    page = (DOCS / "evaluation.md").read_text()
    found = set()
    for path in (ROOT / "kmtard" / "evaluation").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                place = {"Finding": 0, "when": 1}.get(node.func.id)
                if place is not None and isinstance(node.args[place], ast.Constant):
                    found.add(node.args[place].value)
    assert len(found) > 20
    assert [name for name in sorted(found) if f"`{name}`" not in page] == []


@pytest.mark.once("torch")
def test_every_method_and_attack_is_documented() -> None:
    module = hooks()
    methods = module.on_page_markdown((DOCS / "methods.md").read_text())
    attacks = module.on_page_markdown((DOCS / "attacks.md").read_text())
    for name, target in registry.METHODS.items():
        assert f"::: {target.replace(':', '.')}\n" in methods
        assert f"## {name} " in methods
    for name in registry.ATTACKS:
        assert f"| `{name}` |" in attacks
    np.testing.assert_equal(methods.count("<!--") + attacks.count("<!--"), 0)


@pytest.mark.once("torch")
@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
