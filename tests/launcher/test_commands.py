"""The command lines: as the modules' own parsers take them, and as one types them."""

import shlex
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from kmtard.runs.queue.task import Task
from kmtard.runs.radii import curve_command, evaluate_command
from kmtard.runs.study_task import StudyTask
from launcher.commands import command_text, dry_run_command, plan_command
from launcher.screens.recipe_actions import command_lines

AWKWARD = Path("/tmp/my runs/it's $HOME [b]")


def test_a_dry_run_is_of_the_same_training() -> None:
    task = Task.fit("a.toml", method="mtard")
    assert dry_run_command(task) == [*task.command(), "--dry-run=measure"]


def test_a_plan_is_of_the_same_study() -> None:
    task = StudyTask(recipe="a.toml", seeds=(0, 1))
    assert plan_command(task) == [*task.command(), "--dry-run", "--json"]
    measured = plan_command(task, measure=True)
    assert measured == [*task.command(), "--dry-run=measure", "--json"]


def test_the_text_is_what_a_shell_reads_back() -> None:
    command = Task.fit(Path("my digits.toml"), overrides=['a.b="$HOME"']).command()
    text = command_text(command)
    assert text.startswith("python -m kmtard.fit 'my digits.toml' --set")
    assert shlex.split(text) == ["python", *command[1:]]
    assert command_text(["/bin/sh", "-c", "true"]) == "/bin/sh -c true"


@pytest.mark.parametrize(
    "argv",
    [
        Task.fit("-a b.toml", method="mtard", overrides=["a.b='x y'"]).command(),
        Task.fit(AWKWARD / "a.toml", smoke=True, trust=True).command(),
        Task.resume(AWKWARD).command(),
        Task.evaluate(AWKWARD, attacks=["fgsm"], suite="paper").command(),
        Task.evaluate(AWKWARD, epsilons=["0", "8/255"]).command(),
        StudyTask(recipe=str(AWKWARD), methods=("trades",), seeds=(0, 1)).command(),
    ],
)
def test_a_shell_and_the_parsers_take_what_is_shown(argv: list[str]) -> None:
    texts = [command_text(argv), command_lines(argv)]
    for text in [*texts, command_text(argv, AWKWARD).partition(" && ")[2]]:
        words = typed(text)
        assert words == ["python", *argv[1:]]
        accepted(words[2].removeprefix("kmtard."), words[3:])


@pytest.mark.parametrize(
    "text", [curve_command(AWKWARD, ("0", "8/255")), evaluate_command(AWKWARD, None)]
)
def test_commands_of_the_robustness_screen_are_accepted(text: str) -> None:
    program, command, *words = typed(text)
    assert (program, words[0]) == ("kmtard", str(AWKWARD))
    accepted(command, words)


def test_the_folder_of_a_command_is_entered_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command_text(["true"], tmp_path) == command_text(["true"]) == "true"
    folder = tmp_path / "my folder"
    folder.mkdir()
    text = command_text(["pwd"], folder)
    done = subprocess.run(text, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout == f"{folder}\n"


def typed(text: str) -> list[str]:
    """Return the words that a shell makes of a command."""
    script = f"printf '%s\\0' {text}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


def accepted(command: str, words: list[str]) -> None:
    """Check that the parser of a command takes its words; it exits otherwise."""
    import_module(f"kmtard.commands.{command}")._parser("kmtard").parse_args(words)
