"""The cells of a study: combinations, exclusions, equal cells and mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtard.recipe import RecipeError, load, settings_key, teacher_key
from kmtard.study.grid import (
    axis_of,
    cells_of,
    chosen_cells,
    refuse_missing_weights,
)

pytestmark = pytest.mark.once("jax")

ROOT = Path(__file__).parents[3]
DIGITS = (ROOT / "recipes" / "digits.toml").read_text()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(study: str, **settings: object) -> list[str]:
    path = Path("a.toml")
    path.write_text(f"{DIGITS}\n{study}")
    found = cells_of("a.toml", load(path).study, **settings)  # type: ignore[arg-type]
    return [cell.name for cell in found]


def mistakes(study: str) -> str:
    with pytest.raises(RecipeError) as error:
        names(study)
    return str(error.value)


def test_without_a_study_the_recipe_is_the_only_cell(folder: Path) -> None:
    assert names("") == ["b_mtard,s0"]


def test_methods_times_axes_times_seeds(folder: Path) -> None:
    found = names(
        """[study]
        methods = ["natural", "b-mtard"]
        seeds = [1, 2]
        axes.attack.epsilon = ["4/255", "8/255"]
        axes."attack.steps" = [1]
        """
    )
    assert len(found) == len(set(found)) == 8
    assert found[0] == "natural,attack.epsilon=4/255,attack.steps=1,s1"
    assert found[-1] == "b_mtard,attack.epsilon=8/255,attack.steps=1,s2"
    assert [name.endswith("s1") for name in found] == [True] * 4 + [False] * 4


def test_named_cells_stand_beside_the_axes(folder: Path) -> None:
    named = """
    [study.cells.small]
    student.options = { width = 2 }
    [study.cells.plain]
    method = "trades"
    """
    assert names(named) == ["b_mtard,small,s0", "trades,plain,s0"]
    both = f"[study]\nmethods = ['sat']\naxes.attack.steps = [1, 2]\n{named}"
    assert names(both) == [
        "sat,attack.steps=1,s0",
        "sat,attack.steps=2,s0",
        "sat,small,s0",
        "trades,plain,s0",
    ]


def test_a_cells_task_gives_fit_the_same_recipe(folder: Path) -> None:
    Path("a.toml").write_text(
        f"{DIGITS}\n[study]\nmethods = ['trades']\n"
        "axes.methods.trades.beta = [3.0]\ncells.c.student.options = {width = 2}"
    )
    study = load("a.toml").study
    for cell in cells_of("a.toml", study, overrides=["data.limit=9"], smoke=True):
        task = cell.task
        again = load(
            task.target, method=task.method, overrides=task.overrides, smoke=True
        )
        assert again.to_toml() == cell.recipe.to_toml()
        assert cell.key == f"{settings_key(again)}-s0"
        assert again.data.limit == 9


def test_equal_cells_are_one(folder: Path) -> None:
    study = """[study]
    methods = ["natural", "trades"]
    axes.methods.trades.beta = [3.0, 6.0]
    """
    assert names(study) == [
        "natural,methods.trades.beta=3.0,s0",
        "trades,methods.trades.beta=3.0,s0",
        "trades,methods.trades.beta=6.0,s0",
    ]


def test_all_and_paper_stand_for_several_methods(folder: Path) -> None:
    every = names("[study]\nmethods = ['all']")
    assert [name.partition(",")[0] for name in every] == list(load_tables()["methods"])
    assert len(names("[study]\nmethods = ['paper', 'natural']")) == 10


def load_tables() -> dict[str, dict[str, object]]:
    import tomllib

    return tomllib.loads(DIGITS)


def test_cells_are_excluded(folder: Path) -> None:
    study = """[study]
    methods = ["natural", "trades"]
    seeds = [0, 1]
    axes.attack.steps = [1, 2]
    exclude = [{method="natural", attack.steps=2}, {seed=1, method="trades"}]
    """
    assert names(study) == [
        "natural,attack.steps=1,s0",
        "trades,attack.steps=1,s0",
        "trades,attack.steps=2,s0",
        "natural,attack.steps=1,s1",
    ]


@pytest.mark.parametrize(
    ("study", "parts"),
    [
        ("[study]\nmethods = ['tradse']", ["study.methods[0]", "trades"]),
        ("[study]\naxes.attack.steps = 3", ["attack.steps", "list of values"]),
        ("[study]\naxes.attack.stesp = [3]", ["attack.stesp", "steps"]),
        ("[study]\naxes.runtime.seed = [3]", ["runtime.seed", "--seeds"]),
        ("[study]\naxes.method.name = ['sat']", ["method.name", "--methods"]),
        ("[study]\naxes.runtime.runs_dir = ['a']", ["one folder"]),
        ("[study]\naxes.runtime.devices = [1, 2]", ["change no result"]),
        ("[study]\naxes.runtime.threads = [1, 2]", ["by rounding only"]),
        ("[study]\nexclude = [{attack.steps = 1}]", ["attack.steps", "an axis"]),
        ("[study]\nexclude = [{method = 'sat'}]", ["no cell matches"]),
        ("[study]\nexclude = [{seed = 0}]", ["all cells are excluded"]),
        ("[study.slurm]\npartition = 'a\\nrm'", ["study.slurm.partition", "one word"]),
        ("[study.cells]\na.student.netwrok = 'x'", ["study cell a", "network"]),
    ],
)
def test_mistakes_name_their_place(folder: Path, study: str, parts: list[str]) -> None:
    text = mistakes(study)
    for part in parts:
        assert part in text


def test_a_mistake_of_many_cells_is_reported_once(folder: Path) -> None:
    study = "[study]\nseeds = [0, 1]\nmethods = ['sat', 'trades']"
    assert mistakes(f"{study}\naxes.attack.steps = [-1]").count("out of range") == 1


def test_a_strangers_study_names_no_code(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "a.toml").write_text(
        f"{DIGITS}\n[study]\naxes.student.network = ['mine:net']"
    )
    (work / "mine.py").write_text(
        "def net(classes, shape): ...\nopen('imported', 'w')\n"
    )
    monkeypatch.chdir(work)
    with pytest.raises(RecipeError, match="may not be yours"):
        cells_of("../a.toml", load("../a.toml").study)
    [cell] = cells_of("../a.toml", load("../a.toml").study, trust=True)
    assert cell.task.trust and cell.resume(Path("r")).trust
    assert not (work / "imported").exists()


def test_some_cells_are_chosen_by_name_or_part(folder: Path) -> None:
    Path("a.toml").write_text(DIGITS)
    text = "[study]\nmethods = ['sat', 'trades']\nseeds = [0, 1]"
    Path("a.toml").write_text(f"{DIGITS}\n{text}")
    cells = cells_of("a.toml", load("a.toml").study)
    assert [c.name for c in chosen_cells(cells, ["sat"])] == ["sat,s0", "sat,s1"]
    assert [c.name for c in chosen_cells(cells, ["tr*,s1"])] == ["trades,s1"]
    assert len(chosen_cells(cells, ["sat", "s0"])) == 3
    assert chosen_cells(cells, []) == cells
    with pytest.raises(ValueError, match="Did you mean trades"):
        chosen_cells(cells, ["trade"])


def test_missing_weights_are_reported_with_their_source(folder: Path) -> None:
    study = """[study]
    seeds = [0, 1]
    [study.cells.a]
    nat_teacher = {train = false, weights = "no.pt", source = "https://example.org"}
    """
    Path("a.toml").write_text(f"{DIGITS}\n{study}")
    cells = cells_of("a.toml", load("a.toml").study)
    with pytest.raises(RecipeError) as error:
        refuse_missing_weights(cells)
    assert str(error.value).count("no.pt") == 1
    assert "https://example.org" in str(error.value)


def test_a_study_changes_no_hash_and_no_run(folder: Path) -> None:
    Path("a.toml").write_text(DIGITS)
    plain = load("a.toml")
    Path("b.toml").write_text(f"{DIGITS}\n[study]\nseeds = [1]\nslurm.gpus = 8")
    other = load("b.toml")
    assert settings_key(other) == settings_key(plain) == "20dbf445aa9bca0f"
    assert teacher_key(other, "nat_teacher") == "12ed1c3bac942a11"
    assert other.to_toml() == plain.to_toml()


def test_axes_of_the_command_line() -> None:
    assert axis_of("attack.epsilon=4/255") == ("attack.epsilon", "4/255")
    assert axis_of("attack.steps = 2") == ("attack.steps", 2)
    with pytest.raises(ValueError, match="KEY=VALUE"):
        axis_of("attack.steps")
