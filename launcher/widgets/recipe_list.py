"""The list of recipes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from kmtard.runs.visible import visible
from launcher.recipes.recipe_files import RecipeFile


class RecipeList(OptionList):
    """Recipes, grouped by the place where they were found."""

    def show(
        self, files: Sequence[RecipeFile], chosen: Path | None, edited: Collection[Path]
    ) -> None:
        """List the recipes.

        Args:
            files: the recipes.
            chosen: the one that stays highlighted if it still exists.
            edited: those with changes that are not saved.
        """
        options: list[Option] = []
        place = ""
        for file in files:
            if file.place != place:
                place = file.place
                heading = Content.styled(place.capitalize(), "dim")
                options.append(Option(heading, disabled=True))
            prompt = _prompt(file, file.path in edited)
            options.append(Option(prompt, id=str(file.path)))
        top = self.scroll_y
        with self.prevent(OptionList.OptionHighlighted):
            self.clear_options()
            self.add_options(options)
        self.scroll_to(y=top, animate=False)
        paths = [option.id for option in options]
        if chosen is not None and str(chosen) in paths:
            self.highlighted = paths.index(str(chosen))
        elif files:
            self.highlighted = 1


def _prompt(file: RecipeFile, is_edited: bool) -> Content:
    count = len(file.mistakes)
    facts = [visible(file.data), visible(file.student)]
    if file.methods:
        facts.append(f"{len(file.methods)} methods")
    return Content.assemble(
        (visible(file.path.stem), "bold"),
        ("  edited" if is_edited else "", "$text-warning"),
        (f"  {count} wrong" if count else "", "$text-error"),
        "\n",
        ("  " + " · ".join(facts), "dim"),
    )
