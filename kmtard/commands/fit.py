"""`kmtard fit RECIPE`: train the student of a recipe."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from kmtard.commands.method_list import method_lines
from kmtard.commands.parser import Parser
from kmtard.commands.trust import add_trust
from kmtard.recipe import Recipe, RecipeError, foreign_reason, load, settings_key
from kmtard.registry import RegistryError, modules
from kmtard.registry.roles import LABELS
from kmtard.runs import EventWriter, Run, RunError
from kmtard.runs.files import append_regular, cannot_write
from kmtard.runs.intact import check_intact
from kmtard.runs.replay import compare
from kmtard.runs.result_tables import attacks_table, networks_table
from kmtard.runs.revision import source_revision
from kmtard.runs.tables import to_rich
from kmtard.runs.visible import accept_any_text, tell
from kmtard.training.measuring import measured
from kmtard.training.startup import begin, choose_backend, silent_native_code
from kmtard.training.stopping import Stopped, StopSignal
from kmtard.training.teachers import check_weights, missing_weights, trained_instead

if TYPE_CHECKING:
    from kmtard.training.together import Crew

BAD_RECIPE = 2
FAILED = 1
DIFFERENT = 3
INTERRUPTED = 130
RAISED = re.compile(r"(?:\w+\.)*\w*(?:Error|Exception): \S")
"""The line of TensorFlow's text that names the Python exception."""

WRAPPER = re.compile(
    r"^\{\{function_node .*?\}\} |^(Graph execution|Detected at|Traceback|<stack).*"
)

DRY_RUNS = ("sizes", "measure")
HARDWARE = ("devices", "processes", "threads")
"""Keys of [runtime] that are also options."""

PACKAGES = ("kmtard", "keras", "tensorflow", "jax", "torch", "numpy")


def main(argv: Sequence[str] | None = None, *, prog: str = "kmtard fit") -> int:
    """Run the command.

    Args:
        argv: the arguments; `sys.argv[1:]` if None.
        prog: name of the command in messages.

    Returns:
        The exit code. 0: finished, or stopped by a signal after saving a checkpoint.
        1: failed. 2: the recipe or the command line is wrong, and nothing was started.
        3: a replayed run gave different results.
        130: Ctrl-C ended a dry run.
    """
    accept_any_text()
    parser = _parser(prog)
    words = sys.argv[1:] if argv is None else argv
    # Without a value, argparse would read the recipe after it as its value.
    words = ["--dry-run=sizes" if word == "--dry-run" else word for word in words]
    arguments = parser.parse_args(words)
    try:
        if arguments.list_methods:
            for line in method_lines(arguments.recipe):
                tell(Console(), line)
            return 0
        for module in arguments.imports:
            modules.allow(module)
        recipe = _recipe(parser, arguments)
        choose_backend(recipe.runtime.backend, recipe.runtime.threads)
        if arguments.dry_run:
            return _dry_run(recipe, arguments)
        path = arguments.recipe or arguments.resume or arguments.replay
        check_weights(recipe, path)
        if recipe.runtime.devices != 1:
            return _several_devices(arguments, recipe, path)
        return _trained(_run(arguments, recipe), arguments, recipe)
    except (RecipeError, RegistryError, RunError) as error:
        tell(Console(stderr=True), error)
        return FAILED if isinstance(error, RunError) else BAD_RECIPE


def _several_devices(arguments: argparse.Namespace, recipe: Recipe, path: str) -> int:
    """Train on several devices, and in step with the run's other processes."""
    with silent_native_code():
        from kmtard.training.together import Crew
    crew = Crew.prepared(recipe, path)
    try:
        with crew.run(lambda: _run(arguments, recipe, crew.devices)) as run:
            code = _trained(run, arguments, crew.own(recipe, run), crew)
    except (RecipeError, RunError) as error:
        tell(Console(stderr=True), error)
        code = FAILED if isinstance(error, RunError) else BAD_RECIPE
    crew.leave(code, at_once=code in (FAILED, BAD_RECIPE))
    return code


def _trained(
    run: Run,
    arguments: argparse.Namespace,
    recipe: Recipe,
    crew: Crew | None = None,
) -> int:
    log = _log(run)
    try:
        code = _execute(recipe, run, Console(file=log, width=100), crew)
    finally:
        # An error of a full disk has been reported already.
        with suppress(OSError):
            log.close()
    if arguments.replay is None or run.state() != "finished":
        return code
    if crew is not None and not crew.writes:
        return code
    return _compare(Run(arguments.replay), run)


def _compare(first: Run, second: Run) -> int:
    """Print whether a replayed run gave the same results; return the exit code."""
    agreement = compare(first, second)
    for line in agreement.lines():
        tell(Console(), line)
    return 0 if agreement.is_same else DIFFERENT


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = Parser(
        prog=prog,
        description="Train the student of a recipe, and its teachers if needed.",
    )
    parser.add_argument(
        "recipe", nargs="?", type=os.path.expanduser, help="a TOML file; see recipes/"
    )
    parser.add_argument("--method", help="method to use in place of the recipe's")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="TABLE.KEY=VALUE",
        help="change a key of the recipe, value as in TOML; can be repeated",
    )
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="train on few images for two epochs, to check that everything runs",
    )
    parser.add_argument(
        "--dry-run",
        nargs="?",
        choices=DRY_RUNS,
        metavar="measure",
        help="show what would run and the memory it needs, and train nothing; with "
        "=measure, also try a few steps of each training to estimate its time",
    )
    parser.add_argument(
        "--list-methods",
        action="store_true",
        help="list the methods, with their settings in RECIPE if it is given",
    )
    parser.add_argument(
        "--devices",
        metavar="N",
        help='devices that share each batch, or "all" (default: runtime.devices of '
        "the recipe); with --resume, also another number than before",
    )
    parser.add_argument(
        "--processes",
        metavar="N",
        help="processes that train together (default: runtime.processes)",
    )
    parser.add_argument(
        "--threads",
        metavar="N",
        help="threads that compute on a CPU (default: runtime.threads)",
    )
    parser.add_argument(
        "--resume",
        metavar="RUN",
        type=os.path.expanduser,
        help="continue the stopped run in this folder",
    )
    parser.add_argument(
        "--replay",
        metavar="RUN",
        type=os.path.expanduser,
        help="repeat the run in this folder as a new run, and say whether the results "
        "are the same",
    )
    add_trust(parser)
    return parser


def _recipe(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Recipe:
    again = arguments.resume or arguments.replay
    if again is None:
        if arguments.recipe is None:
            parser.error("expected a recipe, --resume RUN or --replay RUN")
        recipe = load(
            arguments.recipe,
            method=arguments.method,
            overrides=[*arguments.overrides, *_hardware(arguments)],
            smoke=arguments.smoke,
            foreign=_foreign(arguments, foreign_reason(arguments.recipe)),
        )
        return _with_teachers(recipe) if arguments.smoke else recipe
    if arguments.resume and arguments.replay:
        parser.error("--resume and --replay cannot be used together")
    if any((arguments.recipe, arguments.method, arguments.overrides, arguments.smoke)):
        option = "--resume" if arguments.resume else "--replay"
        parser.error(
            f"{option} uses the run's own recipe.toml; leave out RECIPE, --method, "
            "--set and --smoke"
        )
    run = Run.open(again)
    foreign = _foreign(arguments, run.foreign_reason())
    return load(run.recipe_path, overrides=_hardware(arguments), foreign=foreign)


def _hardware(arguments: argparse.Namespace) -> list[str]:
    """Return the overrides that say where a recipe runs, not what it computes."""
    given = {key: getattr(arguments, key) for key in HARDWARE}
    chosen = {key: value for key, value in given.items() if value is not None}
    return [f"runtime.{key}={value}" for key, value in chosen.items()]


def _foreign(arguments: argparse.Namespace, reason: str | None) -> str | None:
    """Return why code needs --trust. A dry run imports no code, so it needs none."""
    return None if arguments.trust or arguments.dry_run else reason


def _with_teachers(recipe: Recipe) -> Recipe:
    """Return a recipe that trains each teacher with missing weights; report them."""
    trained = trained_instead(recipe)
    for role in missing_weights(recipe):
        if getattr(trained, role).train:
            weights, name = getattr(recipe, role).weights, LABELS[role]
            text = f"{weights} is missing: the smoke test trains the {name} instead"
            tell(Console(), text)
    return trained


def _dry_run(recipe: Recipe, arguments: argparse.Namespace) -> int:
    screen = Console()
    # The recipe is shown at once, before Keras is imported, which takes seconds.
    tell(screen, recipe.to_toml())
    try:
        with silent_native_code():
            from kmtard.training.estimate import dry_run
        measure = arguments.dry_run == "measure"
        dry_run(recipe, screen, measure=measure, build_own=arguments.trust)
    except KeyboardInterrupt:
        tell(screen, "interrupted; the lines above are complete")
        return INTERRUPTED
    except (RunError, MemoryError) as error:
        tell(Console(stderr=True), str(error) or "This computer has too little memory.")
        return FAILED
    return 0


def _run(arguments: argparse.Namespace, recipe: Recipe, devices: int = 1) -> Run:
    details = run_details(recipe, devices)
    if arguments.resume:
        run = Run.open(arguments.resume)
        _check_finished(run)
        run.claim(details)
        return run
    if arguments.replay:
        first = Run.open(arguments.replay)
        details["replay_of"] = str(first.path)
        name = first.path.resolve().name
    else:
        name = run_name(recipe, arguments.recipe)
    return Run.create(recipe.runtime.runs_dir, name, recipe.to_toml(), details)


def run_details(recipe: Recipe, devices: int = 1) -> dict[str, object]:
    """Return what run.json tells about the process, besides its number and host."""
    details: dict[str, object] = {
        "backend": recipe.runtime.backend,
        "devices": devices,
        "processes": recipe.runtime.processes,
        "versions": _versions(),
        "revision": source_revision(),
    }
    # By its number another job learns that the process has ended on its node.
    if job := os.environ.get("SLURM_JOB_ID"):
        details["slurm_job"] = job
    return details


def _check_finished(run: Run) -> None:
    """Refuse to continue a finished run if its student is gone.

    The run cannot restore the student, so it must stay unchanged.

    Raises:
        RunError: the student's file is missing or damaged.
    """
    try:
        finished = run.state() == "finished"
    except OSError as error:
        raise RunError(f"Cannot read {run.events_path}: {error.strerror}.") from error
    if finished:
        check_intact(
            run.best / "student.keras",
            "The run is finished and was not changed. Restore a copy of this file, or "
            "start the recipe again.",
        )


def _log(run: Run) -> TextIO:
    try:
        return io.TextIOWrapper(append_regular(run.log_path), encoding="utf-8")
    except OSError as error:
        raise cannot_write(run.log_path, error) from error


def run_name(recipe: Recipe, path: str) -> str:
    """Return the name of a new run. Its first parts are those that differ most often.

    The hash of the settings distinguishes runs with different `--set` or `--smoke`.

    Args:
        recipe: the resolved recipe.
        path: the recipe's file.

    Returns:
        `METHOD-sSEED-HASH-FILE`, such as `b_mtard-s0-7f3a-fashion_mnist`.
    """
    method = recipe.method.name.rpartition(":")[2]
    seed, settings = recipe.runtime.seed, settings_key(recipe)[:4]
    return f"{method}-s{seed}-{settings}-{Path(path).stem}"


def _execute(recipe: Recipe, run: Run, log: Console, crew: Crew | None) -> int:
    quiet = crew is not None and not crew.writes
    screen = Console(file=cast(IO[str], Screen(sys.stdout)), quiet=quiet)
    events = EventWriter(run.events_path)

    def line(text: str) -> None:
        tell(screen, text)
        _log_to(log, run, lambda: tell(log, text))

    try:
        begin(recipe, run, line)
        with (
            StopSignal(crew.any_process if crew else None) as stop,
            progress_bar(screen) as bar,
        ):
            with silent_native_code():
                from kmtard.training import execution
            shown = bar if screen.is_terminal else None
            with measured(events, line, devices=crew.devices if crew else 1):
                evaluation = execution.train(recipe, run, stop, line, shown)
        _show(evaluation, recipe, screen)
        _log_to(log, run, lambda: _show(evaluation, recipe, log))
        line(f"student: {run.best / 'student.keras'}")
        execution.finish(run, events, evaluation)
    except Stopped:
        return _stopped(run, events, line)
    except (Exception, KeyboardInterrupt) as error:
        reason = (crew and crew.reason(error)) or _reason(error)
        return _failed(reason, run, events, screen, log)
    return 0


def _show(evaluation: Any, recipe: Recipe, console: Console) -> None:
    results = evaluation.results
    console.print(to_rich(networks_table(results)))
    if recipe.evaluation.suite is not None:
        console.print(to_rich(attacks_table(results, results.student)))


def _stopped(run: Run, events: EventWriter, line: Callable[[str], None]) -> int:
    try:
        events.write("run_stopped")
        line(f"stopped; continue with: python -m kmtard.fit --resume {run.path}")
    except RunError as error:
        tell(Console(stderr=True), error)
        return FAILED
    return 0


def _failed(
    reason: str, run: Run, events: EventWriter, screen: Console, log: Console
) -> int:
    """Report why a run failed, even if its disk is full."""
    where = f"The full traceback is in {run.log_path}"
    try:
        _log_to(
            log, run, lambda: tell(log, f"{traceback.format_exc()}failed: {reason}")
        )
        events.write("run_failed", reason=reason)
    except RunError as problem:
        where = f"The failure could not be recorded in the run: {problem}"
    if screen.quiet:
        screen = Console(stderr=True)
        where = "The log of this process is not kept; the first process has one."
    tell(screen, f"failed: {reason}\n{where}")
    return FAILED


def _log_to(log: Console, run: Run, action: Callable[[], None]) -> None:
    try:
        action()
    except OSError as error:
        raise cannot_write(run.log_path, error) from error


def _reason(error: BaseException) -> str:
    """Return the text of an error, without the text that TensorFlow adds around it."""
    text, kind = str(error), type(error).__name__
    if "{{node " not in text and "{{function_node " not in text:
        return f"{kind}: {text}"
    # Traces are indented or begin with one of these words.
    lines = [WRAPPER.sub("", line) for line in text.splitlines()]
    lines = [line for line in lines if line.strip() and not line[0].isspace()]
    raised = [line for line in lines if RAISED.match(line)]
    return raised[0] if raised else f"{kind}: {lines[-1] if lines else text}"


class Screen:
    """Standard output of a run. The run continues even if its terminal is closed.

    Args:
        file: a text file, such as a terminal or pipe that may be closed by its reader.
    """

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.encoding = file.encoding

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self.file.isatty()

    def write(self, text: str) -> int:
        """Write the text, or drop it if the reader has gone."""
        self._attempt(lambda: self.file.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush the text, or drop it if the reader has gone."""
        self._attempt(self.file.flush)

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError:
            # Python writes the rest of the buffer at exit, which must not fail.
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self.file.fileno())


def progress_bar(screen: Console) -> Progress:
    """Return the progress bar of a run, which shows nothing without a terminal."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
