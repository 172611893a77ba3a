"""Which recipes are found, and what is read from them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kmtard.recipe import LARGEST
from launcher.recipes import recipe_files
from launcher.recipes.recipe_files import RecipeFile, Shelf, header, shipped_folder

RECIPE = """\
# B-MTARD on something small. More of it.
#
# Expected:  clean 98,
#            robust 75
# Time:      a minute

[data]
name = "digits"
batch_size = 8
[student]
network = "small_cnn"
[method]
name = "natural"
[methods.natural]
[methods.sat]
[attack]
epsilon = 0.1
step_size = 0.1
steps = 1
[optimizer]
learning_rate = 0.1
[schedule]
epochs = 1
"""


@pytest.fixture(autouse=True)
def none_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr(recipe_files, "shipped_folder", lambda: folder)
    return folder


@pytest.fixture
def working(tmp_path: Path) -> Path:
    folder = tmp_path / "working"
    (folder / "recipes").mkdir(parents=True)
    return folder


def by_name(shelf: Shelf) -> dict[str, RecipeFile]:
    return {recipe.path.name: recipe for recipe in shelf.scan()}


def test_every_place_is_searched(
    working: Path, none_shipped: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    for place in (
        working / "here.toml",
        working / "recipes" / "below.toml",
        none_shipped / "shipped.toml",
        tmp_path / "folder" / "inside.toml",
        tmp_path / "named.toml",
    ):
        place.write_text(RECIPE)
    # A resource fork of macOS, and an editor's lock.
    for name in ("._here.toml", ".#here.toml"):
        (working / name).write_bytes(b"\x00")
    shelf = Shelf([tmp_path / "folder", tmp_path / "named.toml"], working)
    assert {name: file.place for name, file in by_name(shelf).items()} == {
        "inside.toml": "given",
        "named.toml": "given",
        "here.toml": "working folder",
        "below.toml": "working folder",
        "shipped.toml": "shipped",
    }


def test_facts_come_from_tables_and_header(working: Path) -> None:
    (working / "one.toml").write_text(RECIPE)
    recipe = by_name(Shelf([], working))["one.toml"]
    assert (recipe.data, recipe.student, recipe.method) == (
        "digits",
        "small_cnn",
        "natural",
    )
    assert recipe.methods == ("natural", "sat")
    assert recipe.title == "B-MTARD on something small"
    assert recipe.facts == {"Expected": "clean 98, robust 75", "Time": "a minute"}
    assert recipe.mistakes == ()


def test_the_header_of_a_shipped_recipe_is_understood() -> None:
    title, facts = header((shipped_folder() / "digits.toml").read_text())
    assert title.startswith("B-MTARD on the handwritten digits")
    assert list(facts) == ["Run", "Expected", "Epsilon", "Hardware", "Time"]
    assert facts["Expected"].startswith("clean / PGD_trades / W-Robust accuracy")
    assert "student 98" in facts["Expected"]


def test_a_recipe_reached_twice_is_listed_once(working: Path) -> None:
    (working / "one.toml").write_text(RECIPE)
    (working / "link.toml").symlink_to(working / "one.toml")
    assert len(Shelf([working / "one.toml"], working).scan()) == 1


def test_other_programs_files_are_left_out_unless_named(working: Path) -> None:
    other = working / "pyproject.toml"
    other.write_text('[project]\nname = "other"\n')
    assert by_name(Shelf([], working)) == {}
    listed = by_name(Shelf([other], working))["pyproject.toml"]
    assert {"data", "student", "method"} <= {m.key for m in listed.mistakes}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[data]\nname = ", "expected TOML"),
        (b"\xff\xfe[data]", "expected text in UTF-8, received UTF-16"),
        pytest.param(b"x = " + b"[" * 100_000, "expected TOML", id="brackets"),
        pytest.param(b"a" + b".a" * 1_200 + b" = 1", "expected TOML", id="keys"),
        pytest.param(b"a" + b".a" * 20_000 + b" = 1", "expected TOML", id="dotted"),
        (RECIPE.replace("8\n", '"[b]many[/b]"\n').encode(), "expected a whole number"),
    ],
)
def test_broken_files_are_listed_with_their_mistake(
    working: Path, content: bytes, message: str
) -> None:
    file = working / "broken.toml"
    file.write_bytes(content)
    [recipe] = Shelf([file], working).scan()
    assert message in str(recipe.mistakes[0])


def test_what_cannot_be_read_is_said(working: Path, tmp_path: Path) -> None:
    gone, pipe, huge = (tmp_path / f"{name}.toml" for name in ("gone", "pipe", "huge"))
    os.mkfifo(pipe)
    huge.write_bytes(b"#" * (LARGEST + 1))
    found = by_name(Shelf([gone, pipe, huge], working))
    messages = {name: recipe.mistakes[0].message for name, recipe in found.items()}
    assert "No such file" in messages["gone.toml"]
    assert "it is a pipe" in messages["pipe.toml"]
    assert "bytes" in messages["huge.toml"]


def test_a_file_that_cannot_be_read_in_any_way_does_not_hide_the_others(
    working: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(path: Path) -> None:
        if path.stem == "bad":
            raise RecursionError("too deep")

    monkeypatch.setattr(recipe_files, "load", load)
    for name in ("bad", "good"):
        (working / f"{name}.toml").write_text(RECIPE)
    found = by_name(Shelf([working / "bad.toml"], working))
    assert found["good.toml"].mistakes == ()
    [mistake] = found["bad.toml"].mistakes
    assert "RecursionError: too deep" in mistake.message


def test_hostile_files_do_not_hide_the_good_one(working: Path) -> None:
    (working / "good.toml").write_text(RECIPE)
    os.mkfifo(working / "pipe.toml")
    (working / "folder.toml").mkdir()
    for name, target in (
        ("zero", "/dev/zero"),
        ("gone", "none"),
        ("loop", "loop.toml"),
    ):
        (working / f"{name}.toml").symlink_to(target)
    for name, text in (
        ("keys", "a" + ".a" * 1_200 + " = 1"),
        ("arrays", "a = " + "[" * 400 + "]" * 400),
        ("dotted", "a" + ".a" * 20_000 + " = 1"),
    ):
        (working / f"{name}.toml").write_text(RECIPE + text)
    assert list(by_name(Shelf([], working))) == ["good.toml"]


def test_looking_imports_no_code_that_a_recipe_names(
    working: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(working)
    (working / "own_shelf.py").write_text(
        "from pathlib import Path\nPath('ran').touch()\n"
        "def build(num_classes, input_shape): ...\n"
    )
    own = RECIPE.replace('"small_cnn"', '"own_shelf:build"')
    (working / "own.toml").write_text(own)
    (working / "shell.toml").write_text(RECIPE.replace('"digits"', '"os:system"'))
    found = by_name(Shelf([], working))
    assert found["own.toml"].mistakes == ()
    assert "Python's standard library" in str(found["shell.toml"].mistakes[0])
    assert not (working / "ran").exists()


def test_changes_on_the_disk_are_noticed_and_the_rest_is_not_read_again(
    working: Path,
) -> None:
    first, second = working / "first.toml", working / "second.toml"
    first.write_text(RECIPE)
    second.write_text(RECIPE)
    shelf = Shelf([], working)
    before = by_name(shelf)
    second.write_text(RECIPE.replace('"digits"', '"cifar10"'))
    (working / "third.toml").write_text(RECIPE)
    after = by_name(shelf)
    assert after["first.toml"] is before["first.toml"]
    assert after["second.toml"].data == "cifar10"
    first.unlink()
    assert set(by_name(shelf)) == {"second.toml", "third.toml"}


def test_the_shipped_folder_is_in_the_package_or_beside_it() -> None:
    assert (shipped_folder() / "digits.toml").is_file()
