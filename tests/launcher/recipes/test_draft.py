"""What a user writes into the form is what runs, and what is wrong stands there."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtard.recipe import load
from launcher.recipes.draft import NEEDED, Draft, check
from tests.launcher.form_fixtures import checked, fields, file_of, recipe, replaced

__all__ = ["recipe"]


def test_an_untouched_form_changes_nothing(recipe: Path) -> None:
    result = checked(recipe)
    assert result.overrides == result.runs_override == result.mistakes == ()
    assert result.recipe == load(recipe)


def test_a_file_may_spell_a_method_with_hyphens(recipe: Path) -> None:
    usual = checked(recipe)
    recipe.write_text(recipe.read_text().replace("b_mtard", "b-mtard"))
    result = checked(recipe)
    assert result.file.method == "b_mtard"
    assert result.file.methods == usual.file.methods
    assert result.sections == usual.sections
    assert result.recipe == usual.recipe
    assert checked(recipe, {"method.beta": "2"}).recipe.method.options["beta"] == 2
    table, wrong = "[methods.b-mtard]\n", "weight_rate = 'x'\n"
    replaced(recipe, table, table + wrong)
    replaced(recipe, "weight_rate = 0.025\nbeta = 1.0\n\n#", "beta = 1.0\n\n#")
    [mistake] = checked(recipe).by_field["method.weight_rate"]
    assert mistake.key == "methods.b-mtard.weight_rate"


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("data.flip", "true", True),
        ("data.batch_size", "32", 32),
        ("data.held_out", "0.25", 0.25),
        ("data.held_out", "1/8", 0.125),
        ("data.directory", "/some where/#1", "/some where/#1"),
        ("data.directory", "12", "12"),
        ("data.directory", "true", "true"),
        ("data.directory", '"quoted"', '"quoted"'),
        ("data.directory", "a=b", "a=b"),
        ("data.directory", "[b]x[/b]", "[b]x[/b]"),
        ("data.name", "cifar10", "cifar10"),
        ("schedule.milestones", "3, 5", (3, 5)),
        ("schedule.milestones", "[3, 5,]", (3, 5)),
        ("schedule.milestones", "", ()),
        ("evaluation.attacks", "fgsm, square", ("fgsm", "square")),
        ("evaluation.attacks", '["fgsm"]', ("fgsm",)),
        ("evaluation.suite", "paper", "paper"),
        ("runtime.jit", "auto", "auto"),
        ("runtime.jit", "true", True),
        ("runtime.seed", "7", 7),
        ("student.options.width", "8", 8),
        ("nat_teacher.method.optimizer.nesterov", "true", True),
        ("adv_teacher.method.schedule.epochs", "3", 3),
        ("method.temperature", "2.5", 2.5),
        ("method.temperature", "[1, 2.5]", (1.0, 2.5)),
        ("method.temperature_bounds", "5/6, 3", (5 / 6, 3.0)),
        ("method.attack_bn", "train", "train"),
        ("optimizer.learning_rate", "1e-3", 1e-3),
    ],
)
def test_what_is_written_is_what_runs(
    recipe: Path, key: str, text: str, value: object
) -> None:
    result = checked(recipe, {key: text})
    assert result.mistakes == ()
    assert [field.key for field in result.changed] == [key]
    found: object = result.recipe
    for part in key.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    assert found == value
    # The command line alone makes the same.
    assert load(recipe, overrides=result.overrides) == result.recipe


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("data.batch_size", "0", "out of range"),
        ("data.batch_size", "many", "expected a whole number"),
        ("data.held_out", "8/0", "fraction"),
        ("optimizer.learning_rate", "nan", "finite"),
        ("schedule.milestones", "5, 3", "increasing"),
        ("schedule.milestones", "1, x", "expected a whole number"),
        ("evaluation.attacks", "fgsm, fgsn", "expected a name"),
        ("student.network", "nothing", "expected a name"),
        ("method.beta", "much", "number"),
        ("adv_teacher.method.schedule.epochs", "-1", "out of range"),
        ("schedule.epochs", "", NEEDED),
    ],
)
def test_a_mistake_stands_at_its_field(
    recipe: Path, key: str, text: str, message: str
) -> None:
    result = checked(recipe, {key: text})
    assert result.recipe is None
    assert [*result.by_field] == [key]
    assert message in result.by_field[key][0].message


def test_all_mistakes_are_found_at_once(recipe: Path) -> None:
    wrong = {"data.batch_size": "0", "schedule.epochs": "x", "method.beta": "y"}
    assert set(checked(recipe, wrong).by_field) == set(wrong)


def test_a_mistake_of_no_field_is_among_the_others(recipe: Path) -> None:
    replaced(recipe, "batch_size = 64", "batch_size = 64\nbatch_sise = 1")
    [mistake] = checked(recipe).by_field[""]
    assert mistake.key == "data.batch_sise"


def test_an_edit_wins_over_the_adjustment_of_the_method(recipe: Path) -> None:
    result = checked(recipe, {"optimizer.learning_rate": "0.3"}, method="score")
    assert result.recipe is not None
    assert result.recipe.optimizer.learning_rate == 0.3
    assert result.recipe.optimizer.weight_decay == 5e-4


def test_options_of_one_method_are_not_those_of_another(recipe: Path) -> None:
    file = file_of(recipe)
    form = fields(check(file, Draft("trades"), Path("runs")))
    draft = Draft("trades").edited(form["method.beta"], "9")
    other = check(file, Draft("mart", edits=draft.edits), Path("runs"))
    assert other.overrides == ()
    assert other.recipe is not None
    assert other.recipe.method.options["beta"] == 5.0
    again = check(file, Draft("trades", edits=draft.edits), Path("runs"))
    assert again.overrides == ("method.beta=9",)


def test_another_network_leaves_the_options_of_the_former(recipe: Path) -> None:
    replaced(
        recipe, 'network = "small_cnn"', 'network = "small_cnn"\noptions.width = 4'
    )
    result = checked(recipe, {"student.network": "resnet18"})
    assert result.mistakes == ()
    assert result.recipe is not None
    assert result.recipe.student.options == {}
    assert "student.options.width" not in fields(result)


def test_another_method_of_a_teacher_leaves_the_options_of_the_former(
    recipe: Path,
) -> None:
    replaced(recipe, "beta = 6.0", "beta = 6.0\nschedule = { epochs = 3 }")
    result = checked(recipe, {"adv_teacher.method.name": "sat"})
    assert result.recipe is not None
    method = result.recipe.training("adv_teacher")
    assert method.method_options == {"attack_bn": "train", "attack_warmup": 0}
    assert method.schedule.epochs == 3


@pytest.mark.parametrize("smoke", [False, True])
def test_a_teacher_can_be_trained_instead_of_read(recipe: Path, smoke: bool) -> None:
    replaced(recipe, "train = true", 'weights = "teacher.keras"')
    replaced(recipe, 'name = "natural"', 'name = "natural"\nschedule.epochs = 50')
    edits = {"nat_teacher.weights": "", "nat_teacher.train": "true"}
    result = checked(recipe, edits, smoke=smoke)
    assert result.mistakes == ()
    assert result.recipe is not None
    assert result.recipe.nat_teacher is not None
    assert result.recipe.nat_teacher.weights is None
    epochs = result.recipe.training("nat_teacher").schedule.epochs
    assert epochs == (2 if smoke else 50)


def test_runs_go_where_this_user_interface_looks(recipe: Path, tmp_path: Path) -> None:
    result = check(file_of(recipe), Draft(), tmp_path / "my runs")
    assert result.overrides == ()
    assert result.recipe is not None
    assert result.recipe.runtime.runs_dir == str(tmp_path / "my runs")
    own = fields(result)["runtime.runs_dir"]
    edited = check(file_of(recipe), Draft().edited(own, "else"), tmp_path / "my runs")
    assert edited.recipe is not None
    assert edited.recipe.runtime.runs_dir == "else"


def test_taking_an_edit_back_leaves_no_trace(recipe: Path) -> None:
    field = fields(checked(recipe))["schedule.epochs"]
    draft = Draft().edited(field, "3")
    assert draft != Draft()
    assert draft.edited(field, field.value) == Draft()
