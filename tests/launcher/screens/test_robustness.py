"""The student under attack: images, classes, confusion, epsilon; by keys and mouse."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import pytest
from textual.widgets import Input, Static, TabbedContent

from kmtard.runs.queue.queue import Queue
from launcher.actions import actions_of
from launcher.app import LauncherApp
from launcher.screens.export import ExportScreen
from launcher.screens.robustness import RobustnessScreen
from launcher.settings import Settings
from launcher.widgets.attacked_images import AttackedImages
from launcher.widgets.class_bars import ClassBars
from launcher.widgets.confusion_grid import ConfusionGrid
from launcher.widgets.half_blocks import HalfBlocks
from launcher.widgets.metric_plot import MetricPlot
from launcher.widgets.radius_view import RadiusView
from tests.kmtard.runs.test_results import of_training
from tests.launcher.pilots import screen_text, until
from tests.launcher.robustness_fixtures import make_robust, record

__all__ = ["make_robust"]

pytestmark = pytest.mark.asyncio

SIZES = [(80, 24), pytest.param((120, 40), marks=pytest.mark.slow), (200, 60)]


@pytest.fixture
def show(tmp_path):
    @asynccontextmanager
    async def show(run, size=(80, 24), **options):
        settings = Settings(tmp_path / "launch.json")
        app = LauncherApp(tmp_path / "runs", settings=settings, **options)
        async with app.run_test(size=size) as pilot:
            app.push_screen(RobustnessScreen(run))
            await until(pilot, lambda: getattr(app.screen, "_content", None))
            await settle(pilot)
            yield pilot

    return show


async def settle(pilot):
    """Wait until the picture is drawn."""
    await pilot.pause()
    screen = pilot.app.screen
    groups = ("find", "read")
    await until(
        pilot,
        lambda: (
            not any(
                worker.group in groups and not worker.is_finished
                for worker in pilot.app.workers
            )
        ),
    )
    await pilot.pause()
    assert pilot.app.screen is screen


async def press(pilot, *keys):
    await pilot.press(*keys)
    await settle(pilot)


def images(pilot):
    return pilot.app.screen.query_one(AttackedImages)


def said(pilot, name):
    return pilot.app.screen.query_one(f"#{name}", Static).content.plain


def view(pilot):
    return pilot.app.screen.query_one(TabbedContent).active


def indices(pilot):
    return [each.index for each in images(pilot).shown]


def current(pilot):
    return images(pilot).shown[images(pilot).place].index


def reasons(pilot):
    return {each.label: each.reason for each in actions_of(pilot.app.screen)}


async def click_on(pilot, text, *, rightmost=False):
    """Click on the leftmost or rightmost place of the screen with this text."""
    lines = enumerate(screen_text(pilot).split("\n"))
    places = ((line.find(text), y) for y, line in lines)
    for x, y in sorted(places, reverse=rightmost):
        if x >= 0:
            await pilot.click(offset=(x, y))
            await settle(pilot)
            return
    raise AssertionError(f"{text} is not on the screen")


@pytest.mark.parametrize("size", SIZES)
async def test_an_image_with_its_predictions(show, make_robust, size):
    async with show(make_robust(), size) as pilot:
        text = screen_text(pilot)
        assert "Robustness  digits-b-mtard" in text
        assert "adversarial (pgd_trades)" in text
        assert said(pilot, "place") == "1 of 11"
        assert said(pilot, "about") == "image 0  ·  label cat  ·  ✓ not fooled"
        await press(pilot, "n")
        assert "✗ broken: [b]dog → sailing ship" in screen_text(pilot)
        assert said(pilot, "clean-answer") == "✓ [b]dog  89.00 %"
        assert said(pilot, "adversarial-answer") == "✗ sailing ship  89.00 %"
        assert said(pilot, "difference-title") == "difference × 15"
        assert said(pilot, "difference-answer") == "largest change 8/255"
        clean, attacked, difference = pilot.app.screen.query(HalfBlocks)
        assert clean.image.getpixel((0, 0)) == (20, 100, 200)
        assert attacked.image.getpixel((0, 0)) == (28, 100, 192)
        assert difference.image.getpixel((0, 0)) == (248, 128, 8)
        assert len({widget.size for widget in (clean, attacked, difference)}) == 1
        first = clean.render_line(0)._segments[0]
        # Each pixel of the image is a square of equal size.
        assert first.text == "▀" * (clean.size.width // 8 * 8)
        assert first.style.color.triplet == (20, 100, 200)


@pytest.mark.parametrize("size", SIZES)
async def test_going_through_the_images_by_keys(show, make_robust, size):
    async with show(make_robust(), size) as pilot:
        for keys, index in (
            ("n", 1),
            ("right", 2),
            ("down", 3),
            ("j", 4),
            ("p", 3),
            ("left", 2),
            ("up", 1),
            ("k", 0),
            ("p", 10),
            ("n", 0),
            ("G", 10),
            ("g", 0),
            ("end", 10),
            ("home", 0),
        ):
            await press(pilot, keys)
            assert current(pilot) == index, keys
        clean = pilot.app.screen.query(HalfBlocks).first()
        assert clean.image.getpixel((0, 0)) == (0, 100, 200)


@pytest.mark.parametrize("size", SIZES)
async def test_going_through_the_images_by_mouse(show, make_robust, size):
    async with show(make_robust(), size) as pilot:
        await click_on(pilot, "Next")
        assert current(pilot) == 1
        await click_on(pilot, "Previous")
        assert current(pilot) == 0
        picture = pilot.app.screen.query(HalfBlocks).first()
        await pilot._post_mouse_events(
            [_scroll_down()], widget=picture, offset=(1, 1), button=0
        )
        await settle(pilot)
        assert current(pilot) == 1


def _scroll_down():
    from textual.events import MouseScrollDown

    return MouseScrollDown


@pytest.mark.parametrize("size", SIZES)
async def test_filters_by_keys(show, make_robust, size):
    async with show(make_robust(), size) as pilot:
        assert indices(pilot) == list(range(11))
        await press(pilot, "b")
        assert indices(pilot) == [1, 4, 8]
        await press(pilot, "c")
        assert indices(pilot) == []
        assert "None of the 11 images saved of pgd_trades matches." in screen_text(
            pilot
        )
        await press(pilot, "n", "G", "p")
        await press(pilot, "c")
        assert indices(pilot) == [1, 4]
        await press(pilot, "n", "b")
        assert indices(pilot) == [1, 4, 7, 10]
        assert current(pilot) == 4, "the image in view stays"
        await press(pilot, "C", "C")
        assert indices(pilot) == list(range(11))
        await press(pilot, "C")
        assert indices(pilot) == [2, 5, 8]
        await press(pilot, "b", "a")
        assert said(pilot, "adversarial-title") == "adversarial (fgsm)"
        assert indices(pilot) == [], "fgsm broke no ship"
        await press(pilot, "A")
        assert indices(pilot) == [8]


@pytest.mark.parametrize("size", SIZES)
async def test_filters_by_mouse(show, make_robust, size):
    async with show(make_robust(), size) as pilot:
        await click_on(pilot, "all images")
        await click_on(pilot, "broken only")
        assert indices(pilot) == [1, 4, 8]
        await press(pilot, "n")
        assert current(pilot) == 4, "the keys are those of the view again"
        await click_on(pilot, "all classes")
        await click_on(pilot, "sailing ship")
        assert indices(pilot) == [8]
        await click_on(pilot, "pgd_trades", rightmost=True)
        await click_on(pilot, "fgsm")
        assert indices(pilot) == []
        # The name of the view is in its tab.
        await click_on(pilot, "Classes")
        assert view(pilot) == "classes"


async def test_a_name_is_typed_in_a_list(show, make_robust):
    async with show(make_robust()) as pilot:
        choice = pilot.app.screen.query_one("#class")
        choice.focus()
        await press(pilot, "s", "a", "i")
        assert pilot.app.focused is choice
        assert indices(pilot) == [2, 5, 8]
        await press(pilot, "f5")
        assert view(pilot) == "classes"


@pytest.mark.parametrize("size", SIZES)
async def test_a_bar_for_each_class(show, make_robust, size):
    async with show(make_robust(), size) as pilot:
        await press(pilot, "v")
        await until(pilot, lambda: "all classes" in screen_text(pilot))
        lines = screen_text(pilot).split("\n")
        [dog] = [line for line in lines if "[b]dog" in line]
        [cat] = [line for line in lines if line.strip().startswith("cat")]
        assert dog.split()[-3:] == ["50.00", "100.00", "4"]
        assert cat.split()[-3:] == ["100.00", "100.00", "4"]
        assert abs(dog.count("█") - dog.count("▒")) <= 1
        assert "▒" not in cat and "·" not in cat
        [ship] = [line for line in lines if "sailing ship" in line]
        room = ship.count("█") + ship.count("▒") + ship.count("·")
        assert abs(ship.count("·") / room - 0.25) < 0.1
        order = [line.split()[0] for line in lines if "█" in line]
        assert order == ["class", "all", "cat", "[b]dog", "sailing"]
        await press(pilot, "s")
        bars = pilot.app.screen.query_one(ClassBars).content.plain
        assert [line.split()[0] for line in bars.split("\n")[2:]] == [
            *("[b]dog", "sailing", "cat"),
        ]


@pytest.mark.parametrize("size", SIZES)
async def test_what_classes_are_taken_for(show, make_robust, size):
    async with show(make_robust(), size) as pilot:
        await press(pilot, "f5", "f5")
        assert view(pilot) == "confusion"
        await until(pilot, lambda: "prediction →" in screen_text(pilot))
        lines = screen_text(pilot).split("\n")
        [dog] = [line.split() for line in lines if line.strip().startswith("[b]dog")]
        assert dog[1:] == ["·", "2", "2"]
        await press(pilot, "a")
        [dog] = [
            line.split()
            for line in screen_text(pilot).split("\n")
            if line.strip().startswith("[b]dog")
        ]
        assert dog[1:] == ["·", "3", "1"]


async def test_with_many_classes_the_mistakes_are_listed(show, make_robust):
    content = record()
    answers = " ".join(str(7 * (i % 3) + i) for i in range(12))
    for score in (content["networks"][0]["attacks"]["pgd_trades"],):
        score["predictions"] = " ".join(map(str, range(30, 42)))
    content["labels"] = answers
    run = make_robust()
    run.evaluation_path.write_text(json.dumps(content))
    async with show(run) as pilot:
        await press(pilot, "v", "v")
        grid = pilot.app.screen.query_one(ConfusionGrid).query_one(Static)
        assert "the most frequent mistakes" in grid.content.plain
        assert "1  cat → 30" in grid.content.plain


@pytest.mark.parametrize("size", SIZES)
async def test_without_a_curve_the_command_is_shown(
    show, make_robust, size, monkeypatch
):
    run = make_robust()
    copied = []
    monkeypatch.setattr(LauncherApp, "copy_to_clipboard", lambda _, t: copied.append(t))
    async with show(run, size) as pilot:
        assert reasons(pilot)["Copy"] == "no command is shown"
        await press(pilot, "v", "v", "v")
        assert view(pilot) == "epsilon"
        assert "No curve was measured yet" in screen_text(pilot)
        assert not pilot.app.screen.query_one(MetricPlot).display
        await press(pilot, "y")
        radii = "0,2/255,4/255,8/255,16/255"
        assert copied == [f"kmtard evaluate {run.path} --epsilons {radii}"]
        assert reasons(pilot)["Attack"] == "this view shows every attack"
        await press(pilot, "v")
        assert view(pilot) == "images"


async def test_the_evaluation_of_a_curve_is_queued(show, make_robust, monkeypatch):
    run = make_robust()
    run.best.mkdir(exist_ok=True)
    (run.best / "student.keras").touch()
    monkeypatch.setattr(Queue, "ensure_runner", lambda queue: None)
    async with show(run) as pilot:
        assert reasons(pilot)["Measure"] == "only in the view Epsilon"
        await press(pilot, "v", "v", "v", "m")
        queue = pilot.app.queue
        await until(pilot, queue.entries)
        [entry] = queue.entries()
        assert entry.title == f"evaluate {run.name} over epsilon"
        radii = "0,2/255,4/255,8/255,16/255"
        words = ["-m", "kmtard.evaluate", str(run.path), "--epsilons", radii]
        assert entry.command[1:] == words
        assert entry.run == str(run.path)


@pytest.mark.parametrize("size", SIZES)
async def test_a_curve_with_its_table(show, make_robust, size, tmp_path):
    other = record(epsilon=2 / 255, pictures=None)
    async with show(make_robust({"small": other}), size) as pilot:
        await click_on(pilot, "Epsilon")
        await until(pilot, lambda: "epsilon × 255" in screen_text(pilot))
        plot = pilot.app.screen.query_one(MetricPlot)
        first, second = plot._series
        assert (first.label, second.label) == ("pgd_trades", "fgsm")
        assert first.x == pytest.approx((0, 2, 8))
        assert first.y == pytest.approx((100 * 11 / 12, 800 / 12, 800 / 12))
        rows = pilot.app.screen.query_one(RadiusView).table.rows
        assert [row[0] for row in rows] == ["0", "2/255", "8/255"]
        await until(pilot, lambda: "66.67 (39.1-86.2)" in screen_text(pilot))
        await until(pilot, lambda: plot._content.series)
        await press(pilot, "full_stop", "comma")
        assert plot.view.cross == pytest.approx(2)
        await press(pilot, "v")
        assert reasons(pilot)["Crosshair"] == "only in the view Epsilon"


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        (1, "class,images,clean,pgd_trades,fgsm,worst case"),
        (2, "class,cat,[b]dog,sailing ship"),
        (3, "epsilon,pgd_trades,fgsm"),
    ],
)
async def test_the_table_of_a_view_is_written(
    show, make_robust, tmp_path, views, expected
):
    other = record(epsilon=2 / 255, pictures=None)
    async with show(make_robust({"small": other})) as pilot:
        await press(pilot, "x")
        assert isinstance(pilot.app.screen, RobustnessScreen)
        assert reasons(pilot)["Export"] == "this view has no table"
        await press(pilot, *["v"] * views)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(pilot.app.screen, ExportScreen))
        pilot.app.screen.query_one(Input).value = str(tmp_path / "out.csv")
        await pilot.press("enter")
        await until(pilot, lambda: (tmp_path / "out.csv").exists())
    assert (tmp_path / "out.csv").read_text().startswith(expected)


async def test_evaluations_with_one_radius_differ_in_their_names(show, make_robust):
    curve = record(pictures=None)
    curve["conditions"]["smaller_epsilons"] = [2 / 255]
    async with show(make_robust({"curve": curve})) as pilot:
        assert "epsilon 8/255, 12" in screen_text(pilot)
        await press(pilot, "o")
        assert "epsilon 8/255 curve" in screen_text(pilot)


async def test_another_evaluation_of_the_run(show, make_robust):
    run = make_robust({"small": record(epsilon=2 / 255, pictures=None)})
    async with show(run, (120, 40)) as pilot:
        assert "epsilon 8/255, 12 images" in screen_text(pilot)
        await press(pilot, "o")
        assert "epsilon 2/255, 12 images" in screen_text(pilot)
        assert "No images were saved with this evaluation." in screen_text(pilot)
        command = f"kmtard evaluate {run.path} --attacks pgd_trades --epsilon 2/255"
        assert command in said(pilot, "about")
        await press(pilot, "o")
        assert len(images(pilot).shown) == 11


async def test_what_an_old_evaluation_lacks_is_said(show, make_robust):
    run = make_robust()
    content = record()
    student = content["networks"][0]
    for score in (student["clean"], *student["attacks"].values()):
        del score["confidences"]
    run.evaluation_path.write_text(json.dumps(content))
    async with show(run, (120, 40)) as pilot:
        assert said(pilot, "clean-answer") == "✓ cat"
        command = f"kmtard evaluate {run.path} --attacks pgd_trades"
        assert said(pilot, "lacks").endswith(f"adds them: {command}")
        assert images(pilot).command == command


async def test_an_evaluation_of_version_0_1(show, make_run):
    run = make_run()
    run.evaluation_path.write_text(json.dumps(of_training()))
    async with show(run) as pilot:
        assert "no outcome per image" in said(pilot, "empty")
        assert f"kmtard evaluate {run.path}" in said(pilot, "empty")
        await press(pilot, "v", "a", "n", "b", "c", "s", "o", "G")
        run.evaluation_path.write_text("{")
        await until(pilot, lambda: "Expected an evaluation" in said(pilot, "empty"))


async def test_pictures_that_are_gone_or_damaged(show, make_robust):
    run = make_robust()
    folder = run.path / "evaluation" / "images"
    (folder / "pgd_trades" / "000001.png").write_bytes(b"\x89PNG")
    async with show(run) as pilot:
        await press(pilot, "n")
        assert said(pilot, "difference-answer") == "The pictures cannot be read."
        assert [widget.image for widget in pilot.app.screen.query(HalfBlocks)] == [
            None
        ] * 3
        await press(pilot, "n")
        assert said(pilot, "difference-answer") == "largest change 8/255"
        for path in (folder / "fgsm").iterdir():
            path.unlink()
        await press(pilot, "a")
        assert "No adversarial images of fgsm were saved." in said(pilot, "about")


async def test_a_run_that_is_evaluated_while_it_is_shown(show, make_robust):
    run = make_robust()
    content = run.evaluation_path.read_text()
    run.evaluation_path.unlink()
    async with show(run) as pilot:
        assert "Not evaluated yet." in said(pilot, "empty")
        assert not pilot.app.screen.query_one(TabbedContent).display
        run.evaluation_path.write_text(content)
        await until(pilot, lambda: len(images(pilot).shown) == 11)
        assert not pilot.app.screen.query_one("#empty").display
        await press(pilot, "n")
        assert current(pilot) == 1


async def test_only_an_evaluated_run_has_it(make_robust, make_run, tmp_path):
    run = make_robust()
    make_run("other")
    app = LauncherApp(tmp_path / "runs", settings=Settings(tmp_path / "launch.json"))
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.screen.table
        await until(pilot, lambda: len(table.listed) == 2)
        for row in range(2):
            table.move_cursor(row=row)
            await pilot.pause()
            selected = app.screen.selected_run()
            path = selected.path
            await until(pilot, lambda path=path: app.screen._known[0] == path)
            await pilot.press("i")
            await pilot.pause()
            if path == run.path:
                assert isinstance(app.screen, RobustnessScreen)
                await pilot.press("escape")
            else:
                reason = reasons(pilot)["Robustness"]
                assert reason == "the run has no evaluation yet"
                assert len(app.screen_stack) == 1


async def test_no_color(show, make_robust, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    async with show(make_robust()) as pilot:
        await press(pilot, "n")
        assert "✗ broken" in screen_text(pilot)
        assert "▀" in screen_text(pilot)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(LauncherApp, "native_ansi_color", True)
    async with show(make_robust()) as pilot:
        await press(pilot, "n")
        lines = pilot.app.screen.query(HalfBlocks).first()._lines
        assert set(lines[0].text) == {"░"}, "a third of the light"


@pytest.mark.parametrize("size", [(60, 16), (40, 10)])
async def test_it_is_usable_in_smaller_terminals(show, make_robust, size):
    async with show(make_robust(), size) as pilot:
        await press(pilot, "n")
        assert "broken: [b]dog" in said(pilot, "about")
        for name in ("classes", "confusion", "epsilon"):
            await press(pilot, "v")
            assert view(pilot) == name


async def test_themes_and_sizes_change_while_it_is_shown(show, make_robust):
    async with show(make_robust()) as pilot:
        await press(pilot, "v", "v")
        grid = pilot.app.screen.query_one(ConfusionGrid).query_one(Static)
        dark = grid.content.spans
        await press(pilot, "ctrl+t")
        await until(pilot, lambda: grid.content.spans != dark)
        await pilot.resize_terminal(200, 60)
        await press(pilot, "v", "v")
        wide = pilot.app.screen.query(HalfBlocks).first()
        await until(pilot, lambda: wide.size.width > 60)
        assert wide.render_line(0).cell_length == wide.size.width
