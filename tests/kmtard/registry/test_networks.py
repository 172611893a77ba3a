"""Networks that are named by a file, or by their name in Keras."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtard import registry
from kmtard.recipe import RecipeError, foreign_reason, load
from kmtard.recipe.code import named_code

pytestmark = pytest.mark.once("torch")

DIGITS = Path(__file__).parents[3] / "recipes" / "digits.toml"


@pytest.mark.parametrize("name", ["a/b.keras", "keras.applications:MobileNetV2"])
def test_they_are_no_code(name: str) -> None:
    registry.check("networks", name)
    assert not registry.is_code("networks", name)
    assert named_code({"student": {"network": name}}) == []


def test_their_options_are_checked_without_importing_them() -> None:
    found = registry.options("networks", "a.keras")
    assert list(found) == ["input_range", "momentum"]
    name = "keras.applications:VGG16"
    assert registry.options("networks", name)["pretrained"].default is False
    overrides = [f"student.network={name}", "student.options={pretrained=true}"]
    assert load(DIGITS, overrides=overrides).student.options == {"pretrained": True}
    with pytest.raises(RecipeError, match="width"):
        load(DIGITS, overrides=[f"student.network={name}", "student.options.width=2"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("keras.applications:MobileNetV9", "Did you mean keras.applications:Mobile"),
        ("keras.applications:os", "a network of keras.applications"),
        ("keras.layers:Lambda", "accepted|Expected|keras"),
        ("keras.applications.vgg16:VGG16", "keras"),
    ],
)
def test_other_names_in_keras_are_refused(name: str, message: str) -> None:
    with pytest.raises(registry.RegistryError, match=message):
        registry.check("networks", name)


def test_a_strangers_recipe_may_name_them(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(
        DIGITS.read_text().replace(
            '[student]\nnetwork = "small_cnn"', '[student]\nnetwork = "mine.keras"'
        )
    )
    foreign = foreign_reason(path) or "it is somebody else's"
    assert load(path, foreign=foreign).student.network == "mine.keras"
