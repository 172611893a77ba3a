"""Hostile and damaged files are refused quickly, with a message of one line."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from kmtard.recipe import RecipeError, load
from kmtard.recipe.document import DEEPEST, LARGEST, parse

pytestmark = pytest.mark.once("torch")

RECIPE = """
[data]
name = "digits"
batch_size = 8
[student]
network = "small_cnn"
[method]
name = "natural"
[attack]
epsilon = 0.1
step_size = 0.1
steps = 1
[optimizer]
learning_rate = 0.1
[schedule]
epochs = 1
"""
TOO_DEEP = "tables and lists are nested more than 32 levels deep"


def complaint(path: Path) -> str:
    with pytest.raises(RecipeError) as caught:
        load(path)
    [mistake] = caught.value.mistakes
    assert mistake.place == str(path)
    return str(mistake)


def chain(part: str, count: int) -> str:
    return ".".join([part] * count)


HOSTILE = {
    "keys": chain("a", 1_200) + " = 1",
    "dotted": chain("a", 20_000) + " = 1",
    "quoted": chain('"a"', 20_000) + " = 1",
    "escaped": chain(r'"\""', 20_000) + " = 1",
    "literal": chain("'a'", 20_000) + " = 1",
    "spaced": " \t. ".join(["a"] * 20_000) + " = 1",
    "header": f"[{chain('a', 20_000)}]",
    "tables": f"[[{chain('a', 20_000)}]]",
    "in_a_table": f"a = {{ {chain('a', 20_000)} = 1 }}",
    "arrays": "a = " + "[" * 400 + "]" * 400,
    "open_arrays": "a = " + "[" * 100_000,
    "inline": "a = " + "{a=" * 400 + "1" + "}" * 400,
    "mixed": "a = " + f"[{{{chain('a', 20)} = " * 20 + "1" + "}]" * 20,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_too_deep_is_refused_at_once(name: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE + HOSTILE[name])
    before = time.process_time()
    line = complaint(path)
    assert time.process_time() - before < 2
    assert line == f"{path}: expected TOML: {TOO_DEEP}"


@pytest.mark.parametrize("name", HOSTILE)
def test_the_command_line_is_bounded_too(name: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    with pytest.raises(RecipeError):
        load(path, overrides=[HOSTILE[name], f"data.name={HOSTILE[name]}"])


def test_what_is_deep_enough_for_any_recipe_is_read() -> None:
    most = DEEPEST - 1
    parse("a = " + "[" * most + "]" * most)
    parse(chain("a", DEEPEST) + " = 1")
    with pytest.raises(ValueError, match=TOO_DEEP):
        parse("a = " + "[" * DEEPEST + "]" * DEEPEST)
    numbers = ", ".join(["0.5"] * 1_000)
    assert len(parse(f"a = [{numbers}]")["a"]) == 1_000
    assert parse(f'a = "{"." * 500}" # {"." * 500}') == {"a": "." * 500}


def test_reading_costs_no_more_than_its_size(tmp_path: Path) -> None:
    """The search for long keys must take linear time."""
    path = tmp_path / "recipe.toml"
    for text in (
        "a" * LARGEST,
        '"' * LARGEST,
        '"\\"""' * (LARGEST // 5),
        "'" * LARGEST,
    ):
        path.write_text(text)
        before = time.process_time()
        complaint(path)
        assert time.process_time() - before < 2


def test_a_file_larger_than_any_recipe_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE + "#" * LARGEST)
    assert "it has more than 131,072 bytes" in complaint(path)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (os.mkfifo, "it is a pipe, not a regular file"),
        (os.mkdir, "it is a folder, not a regular file"),
        (lambda path: os.symlink("/dev/zero", path), "it is a device"),
        (lambda path: os.symlink(path, path), "Too many levels of symbolic links"),
    ],
)
def test_what_is_no_regular_file_is_not_opened(make, reason, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    make(path)
    assert f"expected a readable TOML file: {reason}" in complaint(path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_an_encoding_is_told_with_the_way_out(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    (tmp_path / "recipes.toml").touch()  # a name that is near
    path.write_bytes(RECIPE.encode(encoding))
    assert complaint(path) == (
        f"{path}: expected text in UTF-8, received UTF-16; save the file as UTF-8 in "
        "your editor, or with `iconv -f UTF-16 -t UTF-8 OLD > NEW`"
    )


def test_other_bytes_are_told_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"# \xe9t\xe9\n" + RECIPE.encode())
    line = complaint(path)
    assert "expected text in UTF-8, received other bytes" in line
    assert "iconv -f LATIN1 -t UTF-8" in line
    assert "did you mean" not in line


def test_a_mark_at_the_beginning_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE, encoding="utf-8-sig")
    assert load(path).data.name == "digits"


def test_paths_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "recipe.toml"
    path.write_text(
        RECIPE
        + '[adv_teacher]\nnetwork = "small_cnn"\nweights = "~/a.keras"\n'
        + '[runtime]\nruns_dir = "~/runs"\ncache_dir = "~"\n'
    )
    recipe = load(path, overrides=["data.directory=~/data"])
    assert recipe.adv_teacher is not None
    assert recipe.adv_teacher.weights == f"{tmp_path}/a.keras"
    assert recipe.runtime.runs_dir == f"{tmp_path}/runs"
    assert recipe.runtime.cache_dir == str(tmp_path)
    assert recipe.data.directory == f"{tmp_path}/data"
    path.write_text(recipe.to_toml())
    assert load(path) == recipe
    other = load(path, overrides=["data.directory=a~b"])
    assert other.data.directory == "a~b"


def test_no_more_mistakes_are_told_than_one_reads(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("".join(f"a{i} = 1\n" for i in range(500)) + RECIPE)
    with pytest.raises(RecipeError) as caught:
        load(path)
    assert len(caught.value.mistakes) == 101
    assert str(caught.value.mistakes[-1]) == f"{path}: and 400 more mistakes"
