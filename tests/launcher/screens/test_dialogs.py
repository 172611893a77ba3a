"""The small questions: answered by keys and mouse, nothing typed is lost."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.screen import Screen
from textual.widgets import Input

from kmtard.registry import ATTACKS, label, summary
from launcher.screens.ask import AskScreen
from launcher.screens.confirm import ConfirmScreen
from launcher.screens.evaluate import Choice, EvaluateScreen
from tests.launcher.pilots import screen_text, until

SIZES = [(120, 36), (80, 24), pytest.param((60, 16), marks=pytest.mark.slow), (40, 10)]


class Asking(App[None]):
    """Shows one question and keeps the answer."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-medium"), (110, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (16, "-tall")]

    def __init__(self, question: Screen[Any]) -> None:
        super().__init__()
        self.question = question
        self.answers: list[Any] = []

    def on_mount(self) -> None:
        self.ask(self.question)

    def ask(self, question: Screen[Any]) -> None:
        self.push_screen(question, self.answers.append)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    chosen = set(EvaluateScreen.chosen)
    yield
    AskScreen.typed.clear()
    EvaluateScreen.chosen.clear()
    EvaluateScreen.chosen.update(chosen)


def check(text: str) -> str | None:
    return None if text == "right" else f"[b]{text}[/b] is wrong"


@pytest.mark.asyncio
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        ("y", True),
        ("n", False),
        ("escape", False),
        ("enter", False),
        ("left enter", True),
    ],
)
async def test_a_confirmation_is_answered_by_keys(
    size: tuple[int, int], keys: str, answer: bool
) -> None:
    app = Asking(ConfirmScreen("Kill [b]a[/b]?", "Kill", "It ends at once."))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        text = screen_text(pilot)
        assert "Kill [b]a[/b]?" in text and "Kill (y)" in text and "No (n)" in text
        await pilot.press(*keys.split())
        await pilot.pause()
        assert app.answers == [answer]


@pytest.mark.asyncio
@pytest.mark.parametrize(("button", "answer"), [("#yes", True), ("#no", False)])
async def test_a_confirmation_is_answered_by_mouse(button: str, answer: bool) -> None:
    app = Asking(ConfirmScreen("Kill a?", "Kill"))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.click(button)
        await pilot.pause()
        assert app.answers == [answer]


@pytest.mark.asyncio
@pytest.mark.parametrize("size", SIZES)
async def test_what_is_wrong_with_a_line_is_said_at_once(size: tuple[int, int]) -> None:
    app = Asking(AskScreen("New name", "a", check))
    async with app.run_test(size=size) as pilot:
        await pilot.press("b", "enter")
        await pilot.pause()
        assert "[b]ab[/b] is wrong" in screen_text(pilot)
        assert app.answers == []
        app.screen.query_one(Input).value = "right"
        await pilot.press("enter")
        await pilot.pause()
        assert app.answers == ["right"]


@pytest.mark.asyncio
async def test_a_line_that_was_left_is_there_again() -> None:
    app = Asking(AskScreen("New name", "a", check))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("b", "c", "escape")
        await pilot.pause()
        app.ask(AskScreen("Another name", "x", check))
        await pilot.pause()
        assert app.screen.query_one(Input).value == "x"
        await pilot.press("escape")
        app.ask(AskScreen("New name", "a", check))
        await pilot.pause()
        assert app.screen.query_one(Input).value == "abc"
        app.screen.query_one(Input).value = "right"
        await pilot.press("enter")
        app.ask(AskScreen("New name", "a", check))
        await pilot.pause()
        assert app.screen.query_one(Input).value == "a"
        assert app.answers == [None, None, "right"]


@pytest.mark.asyncio
@pytest.mark.parametrize("size", SIZES)
async def test_attacks_are_chosen_and_the_choice_is_kept(size: tuple[int, int]) -> None:
    app = Asking(EvaluateScreen(Path("runs/[b]a")))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        assert "Attacks on [b]a" in screen_text(pilot)
        command = "kmtard.evaluate 'runs/[b]a' --attacks fgsm,pgd_trades"
        assert command in " ".join(screen_text(pilot).replace("│", "").split())
        await pilot.press("space", "down", "space")  # the suite, and not fgsm
        await pilot.press("escape")
        app.ask(EvaluateScreen(Path("runs/b")))
        await pilot.pause()
        await pilot.press("enter")
        await pilot.pause()
        assert app.answers == [None, Choice(("pgd_trades",), "paper")]


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_attacks_show_their_cost(
    size: tuple[int, int], evaluated: Callable[..., Path]
) -> None:
    app = Asking(EvaluateScreen(evaluated(0)))
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "< 1s" in screen_text(pilot))
        text = screen_text(pilot)
        costs = dict(re.findall(r"▌ (\w+) +(\d+ \w+|< 1s)", text))
        assert costs["fgsm"] == "< 1s" and costs["pgd_sat"] == "20 steps"
        assert "2 chosen attacks took 1s in the last evaluation." in text


@pytest.mark.asyncio
async def test_every_attack_is_explained_and_none_is_no_choice() -> None:
    EvaluateScreen.chosen.clear()
    app = Asking(EvaluateScreen(Path("runs/a")))
    async with app.run_test(size=(120, 44)) as pilot:
        await pilot.pause()
        text = screen_text(pilot)
        assert all(label(name) in text for name in ATTACKS)
        assert summary("attacks", "fgsm").replace("`", "")[:60] in text
        await pilot.press("enter")
        await pilot.pause()
        assert app.answers == []
        assert "Choose at least one attack" in screen_text(pilot)
