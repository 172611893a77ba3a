"""The command lines: as the modules' own parsers take them, and as one types them."""

import shlex
from pathlib import Path

from kmtard.runs.queue.task import Task
from kmtard.runs.study_task import StudyTask
from launcher.commands import command_text, dry_run_command, plan_command


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
