"""Code that somebody else's recipe names needs trust; what the user names does not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kmtard.recipe import RecipeError, foreign_reason, load

pytestmark = pytest.mark.once("torch")

RECIPE = """
[data]
name = "own_code:data"
batch_size = 8
[student]
network = "own_code:network"
[nat_teacher]
network = "own_code:network"
train = true
method.name = "own_code:Method"
[method]
name = "own_code:Method"
[methods."own_code:Method"]
[attack]
epsilon = 0.1
step_size = 0.1
steps = 1
[optimizer]
learning_rate = 0.1
[schedule]
epochs = 1
[evaluation]
attacks = ["fgsm", "own_code:attack"]
headline = "own_code:attack"
"""
CODE = """
raise RuntimeError("must not be imported")
def data(directory=None): ...
def network(num_classes, input_shape): ...
def attack(*, epsilon): ...
class Method:
    def __init__(self, student): ...
"""
REASON = "it is outside"


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe outside the working folder that names code in every place."""
    working = tmp_path / "working"
    working.mkdir()
    (working / "own_code.py").write_text(CODE)
    monkeypatch.chdir(working)
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def untrusted_keys(path: Path, **options) -> set[str]:
    try:
        load(path, foreign=REASON, **options)
    except RecipeError as error:
        for mistake in error.mistakes:
            assert REASON in mistake.message
            assert "give --trust" in mistake.message
        return {mistake.key for mistake in error.mistakes}
    return set()


def test_each_place_that_names_code_is_told_and_nothing_is_imported(
    recipe: Path,
) -> None:
    assert load(recipe).data.name == "own_code:data"
    assert untrusted_keys(recipe) == {
        "data.name",
        "student.network",
        "nat_teacher.network",
        "nat_teacher.method.name",
        "method.name",
        'methods."own_code:Method"',
        "evaluation.attacks",
        "evaluation.headline",
    }
    assert "own_code" not in sys.modules


def test_entries_of_the_tables_need_no_trust(recipe: Path) -> None:
    text = RECIPE.replace("own_code:data", "digits").replace(
        "own_code:network", "kmtard.networks.small_cnn:small_cnn"
    )
    text = text.replace("own_code:Method", "natural")
    recipe.write_text(text.replace("own_code:attack", "fab-t"))
    assert untrusted_keys(recipe) == set()


def test_what_the_command_line_names_needs_no_trust(recipe: Path) -> None:
    text = RECIPE.replace("own_code:data", "digits").replace(
        "own_code:network", "small_cnn"
    )
    text = text.replace("own_code:Method", "natural")
    recipe.write_text(text.replace("own_code:attack", "fgsm"))
    chosen = ["student.network=own_code:network", "data.name=own_code:data"]
    assert untrusted_keys(recipe, method="own_code:Method", overrides=chosen) == set()


def test_a_recipe_is_own_under_the_working_folder(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert str(tmp_path / "working") in (foreign_reason(recipe) or "")
    assert foreign_reason(tmp_path / "working" / "own.toml") is None
    assert foreign_reason("own.toml") is None
    (tmp_path / "working" / "link.toml").symlink_to(recipe)
    assert foreign_reason("link.toml") is not None, "a link does not make it own"
    monkeypatch.chdir(tmp_path)
    assert foreign_reason(recipe) is None


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("data.name=subprocess:getoutput", "data.name"),
        ("student.network=os:system", "student.network"),
        ("method.name=subprocess:Popen", "method.name"),
        ("evaluation.attacks=['os:system']", "evaluation.attacks[0]"),
        ("evaluation.headline=os:system", "evaluation.headline"),
        ("nat_teacher.method.name=subprocess:Popen", "nat_teacher.method.name"),
        ("methods.'subprocess:Popen'={}", 'methods."subprocess:Popen"'),
    ],
)
def test_the_standard_library_is_refused_in_each_place(
    override: str, key: str, recipe: Path
) -> None:
    with pytest.raises(RecipeError) as caught:
        load(recipe, overrides=[override])
    found = {m.key: str(m) for m in caught.value.mistakes}
    assert "a module file under the working folder" in found[key]
    assert "is part of Python's standard library" in found[key]
