"""A saved recipe keeps its comments, and is what --method and --set make of it."""

from __future__ import annotations

import errno
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kmtard.recipe import ADJUSTABLE, load
from launcher.recipes.draft import Draft, check
from launcher.recipes.fields import Field
from launcher.recipes.recipe_files import RecipeFile
from launcher.recipes.saving import SaveError, changed_text, save

DIGITS = Path(__file__).parents[3] / "recipes" / "digits.toml"
TEXTS = {
    "integer": "7",
    "number": "1/8",
    "text": "some # where",
    "flag": "true",
    "value": "[1, 2.5]",
}
LISTS = {
    "schedule.milestones": "3, 5",
    "evaluation.attacks": "fgsm, square",
    "freeze": "conv2d, dense*",
}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_bytes(DIGITS.read_bytes())
    return path


def file_of(path: Path) -> RecipeFile:
    return RecipeFile(path, "here", document=tomllib.loads(path.read_text()))


def text_for(field: Field) -> str:
    if field.kind == "list":
        found = [text for key, text in LISTS.items() if field.key.endswith(key)]
        return found[0] if found else "0.2, 5/2"
    if field.kind == "choice":
        return next(each for each in field.choices if each != field.value)
    if field.key == "data.pad":
        return "2"
    return TEXTS[field.kind]


# These make another set of fields, or need others, and are changed one by one.
ALONE = ("network", "train", "weights", "name", "devices", "processes", "coordinator")


def drafts_of(file: RecipeFile, method: str | None) -> Iterator[Draft]:
    """Yield drafts with all fields of a section, and with each of those alone."""
    for section in check(file, Draft(method), Path("runs")).sections:
        if method is not None and section.name not in ("method", *ADJUSTABLE):
            continue  # as for the file's own method
        together = Draft(method)
        for field in section.fields:
            if field.path[-1] not in ALONE:
                together = together.edited(field, text_for(field))
            elif field.path[-1] in ("network", "name"):
                yield Draft(method).edited(field, text_for(field))
        yield together


@pytest.mark.parametrize("method", [None, "score"])
def test_the_file_says_what_the_command_line_says(
    recipe: Path, tmp_path: Path, method: str | None
) -> None:
    file = file_of(recipe)
    target = tmp_path / "saved.toml"
    changed = 0
    for draft in drafts_of(file, method):
        result = check(file, draft, Path("runs"))
        assert result.mistakes == ()
        changed += len(result.changed)
        text = changed_text(recipe.read_bytes().decode(), method, result.overrides)
        target.write_text(text)
        assert load(target) == result.recipe, result.overrides
    assert changed >= (15 if method else 60)


def test_a_teacher_that_is_read_is_saved_as_one_that_is_trained(
    recipe: Path, tmp_path: Path
) -> None:
    text = recipe.read_text().replace("train = true", 'weights = "a.keras"', 1)
    recipe.write_text(text)
    overrides = ['nat_teacher={network = "small_cnn", method = {name = "natural"}}']
    overrides += ["nat_teacher.train=true"]
    save(recipe, tmp_path / "saved.toml", method=None, overrides=overrides)
    tables = tomllib.loads((tmp_path / "saved.toml").read_text())
    assert tables["nat_teacher"] == {
        "network": "small_cnn",
        "train": True,
        "method": {"name": "natural"},
    }


def test_another_backend_is_saved_with_the_compilation_that_it_needs(
    recipe: Path, tmp_path: Path
) -> None:
    assert "jit = false" in recipe.read_text()
    overrides = ["runtime.backend=jax"]
    save(recipe, tmp_path / "saved.toml", method=None, overrides=overrides)
    runtime = tomllib.loads((tmp_path / "saved.toml").read_text())["runtime"]
    assert runtime == {"backend": "jax", "jit": "auto"}
    assert load(tmp_path / "saved.toml") == load(recipe, overrides=overrides)


def test_several_devices_are_saved(recipe: Path, tmp_path: Path) -> None:
    overrides = ["runtime.backend=jax", "runtime.devices=4", "runtime.processes=2"]
    overrides += ['runtime.coordinator="node1:8476"']
    save(recipe, tmp_path / "saved.toml", method=None, overrides=overrides)
    assert load(tmp_path / "saved.toml") == load(recipe, overrides=overrides)


@given(st.data())
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_so_it_does_with_many_changes(
    recipe: Path, tmp_path: Path, data: st.DataObject
) -> None:
    file = file_of(recipe)
    method = data.draw(st.sampled_from([None, *file.methods]))
    draft = Draft(method)
    form = check(file, draft, Path("runs")).sections
    fields = [
        field
        for section in form
        for field in section.fields
        if field.path[-1] not in ALONE
    ]
    for field in data.draw(st.lists(st.sampled_from(fields), max_size=8)):
        draft = draft.edited(field, text_for(field))
    overrides = check(file, draft, Path("runs")).overrides
    save(recipe, tmp_path / "saved.toml", method=method, overrides=overrides)
    wanted = load(recipe, method=method, overrides=overrides)
    assert load(tmp_path / "saved.toml") == wanted


def test_comments_order_and_format_stay(recipe: Path) -> None:
    text = recipe.read_text()
    overrides = ["method.beta=2", "schedule.milestones=[3, 5]", "runtime.jit=true"]
    changed = changed_text(recipe.read_bytes().decode(), None, overrides)
    expected = text.replace("milestones = [14, 17]", "milestones = [3, 5]")
    expected = expected.replace("jit = false", "jit = true")
    table = "[methods.b_mtard]"
    before, after = expected.split(table)
    assert changed == before + table + after.replace("beta = 1.0", "beta = 2", 1)


def test_the_spelling_of_a_method_stays(recipe: Path, tmp_path: Path) -> None:
    text = recipe.read_text().replace("b_mtard", "b-mtard")
    recipe.write_text(text)
    target = tmp_path / "saved.toml"
    overrides = ["method.beta=2", "methods.b_mtard.weight_rate=0.5"]
    save(recipe, target, method=None, overrides=overrides)
    expected = text.replace(
        "weight_rate = 0.025\nbeta = 1.0\n\n#", "weight_rate = 0.5\nbeta = 2\n\n#"
    )
    assert target.read_text() == expected != text
    assert load(target) == load(recipe, overrides=overrides)


def test_comments_at_the_end_of_a_line_stay(recipe: Path) -> None:
    changed = changed_text(recipe.read_bytes().decode(), "iad", ["method.begin=3"])
    line = "begin = 3 # of 20 epochs; 60 of 200 in the authors' code"
    assert line in changed
    assert 'name = "iad"' in changed


def test_what_a_method_adjusts_is_changed_there(recipe: Path, tmp_path: Path) -> None:
    target = tmp_path / "saved.toml"
    overrides = ["optimizer.learning_rate=0.3"]
    save(recipe, target, method="score", overrides=overrides)
    tables = tomllib.loads(target.read_text())
    adjusted = tables["methods"]["score"]["optimizer"]
    assert adjusted == {"learning_rate": 0.3, "weight_decay": 5e-4}
    assert load(target).optimizer.learning_rate == 0.3


def test_an_option_that_a_teacher_shares_is_not_changed_for_it(
    recipe: Path, tmp_path: Path
) -> None:
    text = recipe.read_text()
    recipe.write_text(text.replace('name = "trades"\nbeta = 6.0', 'name = "trades"'))
    target = tmp_path / "saved.toml"
    save(recipe, target, method="trades", overrides=["method.beta=9"])
    saved = load(target)
    assert saved.training("student").method_options["beta"] == 9
    assert saved.training("adv_teacher").method_options["beta"] == 6


def test_another_method_leaves_the_options_of_the_former(recipe: Path) -> None:
    text = recipe.read_text().replace('"b_mtard"\n', '"b_mtard"\nbeta = 3\n', 1)
    changed = tomllib.loads(changed_text(text, "trades", []))
    assert changed["method"] == {"name": "trades"}


def test_windows_line_ends_stay(recipe: Path) -> None:
    content = recipe.read_bytes().replace(b"\n", b"\r\n")
    changed = changed_text(content.decode(), None, ["schedule.epochs=3"])
    assert changed == content.decode().replace("epochs = 20\r", "epochs = 3\r")


@pytest.mark.parametrize(
    "layout",
    [
        "optimizer.learning_rate = 0.1\n",
        "optimizer = {learning_rate = 0.1}\n",
        "[optimizer]\nlearning_rate = 0.1\n",
    ],
)
def test_other_layouts_are_changed_too(
    recipe: Path, tmp_path: Path, layout: str
) -> None:
    text = recipe.read_text().replace("[optimizer]\nlearning_rate = 0.1\n", "")
    if layout.startswith("["):
        recipe.write_text(text + layout)
    else:
        recipe.write_text(layout + text)
    overrides = ["optimizer.learning_rate=0.2", "optimizer.momentum=0.5"]
    save(recipe, tmp_path / "saved.toml", method=None, overrides=overrides)
    saved = load(tmp_path / "saved.toml").optimizer
    assert (saved.learning_rate, saved.momentum) == (0.2, 0.5)


def test_a_wrong_recipe_is_not_saved(recipe: Path, tmp_path: Path) -> None:
    target = tmp_path / "saved.toml"
    target.write_text("as before")
    with pytest.raises(SaveError, match="schedule.epochs"):
        save(recipe, target, method=None, overrides=["schedule.epochs=0"])
    assert target.read_text() == "as before"


def test_a_full_disk_leaves_the_old_file(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = recipe.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SaveError, match="No space left"):
        save(recipe, recipe, method=None, overrides=["schedule.epochs=3"])
    assert recipe.read_bytes() == before


@pytest.mark.parametrize("target", ["missing/saved.toml", "folder"])
def test_where_nothing_can_be_written_is_said(
    recipe: Path, tmp_path: Path, target: str
) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(SaveError, match=target):
        save(recipe, tmp_path / target, method=None, overrides=[])


@pytest.mark.parametrize("content", [b"[data", b"\xff"])
def test_a_file_that_is_no_toml_cannot_be_changed(
    tmp_path: Path, content: bytes
) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_bytes(content)
    with pytest.raises(
        SaveError, match="broken.toml.*expected|Cannot change .*broken.toml"
    ):
        save(broken, tmp_path / "saved.toml", method=None, overrides=[])


def test_a_vanished_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match="No such file"):
        save(tmp_path / "gone", tmp_path / "saved.toml", method=None, overrides=[])
