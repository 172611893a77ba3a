"""The saved images of an evaluation, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Select, Static

from kmtard.registry import label
from kmtard.runs.formats import counted, percent, radius_text
from kmtard.runs.pictures import (
    AttackedImage,
    amplification,
    attacked_images,
    difference,
    largest_change,
    read_pair,
)
from kmtard.runs.radii import evaluate_command
from kmtard.runs.results import Results
from kmtard.runs.visible import visible
from launcher.closing import is_open
from launcher.widgets.choice import Choice
from launcher.widgets.half_blocks import HalfBlocks

if TYPE_CHECKING:
    from PIL.Image import Image

    from launcher.app import LauncherApp

EVERY = ""
"""Value of the choices that filter nothing."""

BROKEN = "broken"
COLUMNS = ("clean", "adversarial", "difference")
RIGHT, WRONG = "✓", "✗"
LARGE = 512
"""Smallest side in pixels of what the terminal scales, so that pixels stay squares."""


class Shown(NamedTuple):
    """What is drawn for an image."""

    pictures: tuple[Image, Image, Image]
    factor: int
    largest: int


class AttackedImages(Vertical, can_focus=True):
    """A clean image, its adversarial version and their amplified difference.

    Args:
        folder: of the run.

    Attributes:
        images: what the attack has, before the filters.
        shown: what the filters let through.
        place: of the visible image in `shown`.
    """

    app: LauncherApp

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._results: Results | None = None
        self._attack = ""
        self.images: list[AttackedImage] = []
        self.shown: list[AttackedImage] = []
        self.place = 0

    def compose(self) -> ComposeResult:
        """Show the filters, and room for three pictures with words around."""
        with Horizontal(id="filters"):
            yield Choice([("all classes", EVERY)], id="class", allow_blank=False)
            yield Choice(
                [("all images", EVERY), ("broken only", BROKEN)],
                id="which",
                allow_blank=False,
            )
            yield Static(id="place")
        yield Static(id="about")
        with Horizontal(id="pictures"):
            for name in COLUMNS:
                with Vertical(classes="column"):
                    yield Static(name, id=f"{name}-title")
                    yield Static(id=f"{name}-answer")
                    with Vertical(classes="frame"):
                        yield self._picture()
        yield Static(id="lacks")

    def _picture(self) -> Widget:
        if self.app.pictures is None:
            return HalfBlocks()
        widget = self.app.pictures()
        # As large as fits, instead of one pixel of the terminal per pixel.
        widget.styles.width = widget.styles.height = "auto"
        return widget

    def on_resize(self, event: events.Resize) -> None:
        """Give the columns equal widths, as equal pictures must have equal sizes."""
        for column in self.query(".column"):
            column.styles.width = event.size.width // len(COLUMNS)

    def show(self, results: Results | None, attack: str) -> None:
        """Show the images of an attack, from the first one.

        Args:
            results: the record; None for nothing.
            attack: name of the attack.
        """
        if (results, attack) != (self._results, self._attack):
            self._results, self._attack = results, attack
            self._find()

    @work(group="find", exclusive=True)
    async def _find(self) -> None:
        images: list[AttackedImage] = []
        if self._results is not None:
            images = await asyncio.to_thread(
                attacked_images, self._results, self._attack, self._folder
            )
        if is_open(self):
            self.images = images
            self._offer(each.label for each in images)
            self._filter()

    def _offer(self, labels: Iterable[int | None]) -> None:
        results, select = self._results, self.query_one("#class", Choice)
        found = sorted({each for each in labels if each is not None})
        names = [results.class_name(each) if results else "" for each in found]
        options = [("all classes", EVERY)]
        options += [(visible(n), str(v)) for n, v in zip(names, found, strict=True)]
        before = select.value
        with self.prevent(Select.Changed):
            select.set_options((Text(name), value) for name, value in options)
            if before in {value for _, value in options}:
                select.value = before

    @on(Select.Changed)
    def _filter(self) -> None:
        wanted = self.query_one("#class", Choice).value
        broken = self.query_one("#which", Choice).value == BROKEN
        before = self.shown[self.place].index if self.shown else -1
        self.shown = [
            each
            for each in self.images
            if (wanted == EVERY or str(each.label) == wanted)
            and (each.is_broken or not broken)
        ]
        # The image in view stays there if it can.
        places = [i for i, each in enumerate(self.shown) if each.index == before]
        self.go_to(places[0] if places else 0)

    def go_to(self, place: int) -> None:
        """Show an image.

        Args:
            place: its number among those that the filters let through, from 0; beyond
                the ends, the first or the last.
        """
        self.place = max(0, min(place, len(self.shown) - 1))
        self._say()
        self._read()

    def step(self, by: int) -> None:
        """Show the next image, or the one before; the first follows the last."""
        if self.shown:
            self.go_to((self.place + by) % len(self.shown))

    def turn_class(self, by: int) -> None:
        """Show the images of the next class, of the one before, or of all."""
        turn(self.query_one("#class", Choice), by)

    def turn_broken(self) -> None:
        """Show only the images that the attack broke, or all."""
        turn(self.query_one("#which", Choice), 1)

    def action_cursor_down(self) -> None:
        """Show the next image."""
        self.step(1)

    def action_cursor_up(self) -> None:
        """Show the image before."""
        self.step(-1)

    def action_first(self) -> None:
        """Show the first image."""
        self.go_to(0)

    def action_last(self) -> None:
        """Show the last image."""
        self.go_to(len(self.shown) - 1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Show the next image."""
        event.stop()
        self.step(1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Show the image before."""
        event.stop()
        self.step(-1)

    @property
    def command(self) -> str:
        """The command line that adds what is missing; empty if nothing is."""
        is_whole = self.images and None not in self.images[0].confidences
        if self._results is None or is_whole:
            return ""
        return evaluate_command(self._folder, self._results, self._attack)

    def _say(self) -> None:
        place = f"{self.place + 1} of {len(self.shown)}" if self.shown else "none"
        self.query_one("#place", Static).update(Text(place))
        self.query_one("#pictures").display = bool(self.shown)
        self.query_one("#about", Static).update(self._about())
        lacks = ""
        if self.shown and self.command:
            lacks = f"The confidences were not stored. This adds them: {self.command}"
        self.query_one("#lacks", Static).update(Text(visible(lacks)))

    def _about(self) -> Text:
        results, attack = self._results, label(self._attack)
        if results is None:
            return Text()
        if not self.images:
            if results.pictures is None:
                why = "No images were saved with this evaluation."
            else:
                why = f"No adversarial images of {attack} were saved."
            text = f"{why} This saves some:\n\n{self.command}"
            return Text("\n".join(map(visible, text.split("\n"))))
        if not self.shown:
            saved = counted(len(self.images), "image")
            return Text(f"None of the {saved} saved of {visible(attack)} matches.")
        image = self.shown[self.place]
        clean, attacked = (self._class(answer) for answer in image.answers)
        parts = [
            (f"image {image.index}", ""),
            (f"label {self._class(image.label)}", ""),
        ]
        if image.is_broken:
            parts.append((f"{WRONG} broken: {clean} → {attacked}", "bold"))
        elif attacked:
            parts.append((f"{RIGHT} not fooled", ""))
        return Text("  ·  ").join(Text(visible(text), style) for text, style in parts)

    def _class(self, answer: int | None) -> str:
        if answer is None or self._results is None:
            return ""
        return self._results.class_name(answer)

    @work(group="read", exclusive=True)
    async def _read(self) -> None:
        image = self.shown[self.place] if self.shown else None
        found = await asyncio.to_thread(_read, image) if image else None
        if is_open(self):
            self._draw(image, found)

    def _draw(self, image: AttackedImage | None, found: Shown | None) -> None:
        for number, frame in enumerate(self.query(".frame")):
            widget: Any = frame.children[0]
            picture = found.pictures[number] if found else None
            if self.app.pictures is not None and picture is not None:
                picture = _enlarged(picture)
            widget.image = picture
        attack = f"adversarial ({label(self._attack)})"
        factor = f"difference × {found.factor}" if found else "difference"
        for name, title in zip(COLUMNS, ("clean", attack, factor), strict=True):
            text = Text(visible(title), overflow="ellipsis", no_wrap=True)
            self.query_one(f"#{name}-title", Static).update(text)
        answers = [Text(), Text(), Text()]
        if image is not None:
            answers[:2] = [self._answer(image, number) for number in (0, 1)]
            answers[2] = Text("The pictures cannot be read.", "bold")
            if found is not None:
                change = radius_text(found.largest / 255) if found.largest else "0"
                answers[2] = Text(f"largest change {change}")
        for name, answer in zip(COLUMNS, answers, strict=True):
            self.query_one(f"#{name}-answer", Static).update(answer)

    def _answer(self, image: AttackedImage, number: int) -> Text:
        answer, share = image.answers[number], image.confidences[number]
        if answer is None:
            return Text("prediction unknown", "dim")
        sign = RIGHT if answer == image.label else WRONG
        text = Text(f"{sign} {visible(self._class(answer))}", "bold")
        return text.append(f"  {percent(share)} %", "") if share is not None else text


def turn(choice: Choice, by: int) -> None:
    """Choose the next entry of a list, or the one before; the first follows the last.

    Args:
        choice: the list.
        by: number of entries.
    """
    values = [value for _, value in choice._options if isinstance(value, str)]
    if values:
        known = choice.value in values
        place = values.index(str(choice.value)) + by if known else 0
        choice.value = values[place % len(values)]


def _read(image: AttackedImage) -> Shown | None:
    pair = read_pair(image)
    if pair is None:
        return None
    largest = largest_change(*pair)
    factor = amplification(largest)
    return Shown((*pair, difference(*pair, factor)), factor, largest)


def _enlarged(image: Image) -> Image:
    from PIL.Image import Resampling

    times = max(1, LARGE // min(image.size))
    size = image.width * times, image.height * times
    return image.resize(size, Resampling.NEAREST)
