"""`kmtard evaluate RUN_OR_MODEL`: evaluate a model under attacks, or compare two."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from kmtard.commands.parser import Parser, count
from kmtard.commands.trust import add_trust
from kmtard.evaluation.corruptions.choice import ALL
from kmtard.evaluation.suites import NORMS, SUITES
from kmtard.registry import RegistryError, modules
from kmtard.runs import RunError
from kmtard.runs.command_line import without_options
from kmtard.runs.formats import percent, radius_text
from kmtard.runs.result_tables import (
    attacks_table,
    classes_table,
    confusion_table,
    corruptions_table,
    published_table,
    radii_table,
)
from kmtard.runs.results import RECORD, Results
from kmtard.runs.tables import to_rich
from kmtard.runs.verdict import Verdict, verdict
from kmtard.runs.visible import accept_any_text, tell, telling_warnings, wide_console
from kmtard.training.plan import Plan, find_subject
from kmtard.training.startup import BACKENDS, choose_backend, silent_native_code
from kmtard.training.stopping import Stopped, StopSignal
from kmtard.training.subject import Subject

if TYPE_CHECKING:
    from kmtard.evaluation.network_evaluator import Step
    from kmtard.evaluation.result import Evaluation

BAD_COMMAND_LINE = 2
FAILED = 1
NOT_QUOTABLE = 3
SECONDS = 5.0  # between two lines about an attack, without a terminal
WIDTH = 110  # columns of a table, without a terminal


def main(argv: Sequence[str] | None = None, *, prog: str = "kmtard evaluate") -> int:
    """Run the command.

    Args:
        argv: the arguments; `sys.argv[1:]` if None.
        prog: name of the command in messages.

    Returns:
        The exit code. 0: finished, or stopped by a signal; the same command continues.
        1: failed. 2: the command line is wrong. All mistakes were printed, and nothing
        was started. 3: with --strict, the robust accuracy must not be quoted.
    """
    accept_any_text()
    words = sys.argv[1:] if argv is None else list(argv)
    parser = _parser(prog)
    given = vars(parser.parse_args(words))
    errors = Console(stderr=True)
    try:
        if compared := given.pop("compare", None):
            # Imported here because it loads NumPy, which is slow.
            from kmtard.evaluation.comparison import comparison_table

            first, second = map(_record, compared)
            wide_console().print(to_rich(comparison_table(first, second, compared)))
            return 0
        if "model" not in given:
            # An option with an optional value takes the word behind it.
            before = " before --corruptions" if "corruptions" in given else ""
            text = f"expected a run's folder or a .keras file{before}, or --compare A B"
            parser.error(text)
        if "epsilon" in given and "epsilons" in given:
            parser.error("--epsilon and --epsilons exclude each other")
        per_class, strict = given.pop("per_class", False), given.pop("strict", False)
        trust, imports = given.pop("trust"), given.pop("imports")
        for module in imports:
            modules.allow(module)
        where = {"weights": given.pop("weights", None), "data": given.get("data")}
        subject, mistakes = find_subject(given["model"], trust=trust, **where)
        recipe = subject.recipe if subject else None
        plan = Plan.of(given, recipe, subject.settings if subject else None)
        plan = replace(plan, command=_complete([*prog.split(), *words], given, plan))
        mistakes += plan.mistakes(subject)
        if subject is None or mistakes:
            tell(errors, "\n".join(mistakes))
            return BAD_COMMAND_LINE
        with StopSignal() as stop:
            records = _evaluated(plan, subject, stop)
        _show(records, per_class=per_class)
        verdicts = [verdict(each.student) for each in records]
        _tell_verdict(verdicts[-1], [*prog.split(), *words])
        if strict and not all(each.may_be_quoted for each in verdicts):
            return NOT_QUOTABLE
    except Stopped:
        command = shlex.join([*prog.split(), *words])
        tell(Console(), f"stopped; continue with: {command}")
    except RegistryError as error:
        tell(errors, error)
        return BAD_COMMAND_LINE
    except (RunError, ValueError) as error:
        tell(errors, f"failed: {error}")
        return FAILED
    return 0


def _complete(words: Sequence[str], given: Mapping[str, Any], plan: Plan) -> str:
    """Return a command line that does the same in another environment."""
    known = "backend" in given or Path(plan.model).is_dir()
    return shlex.join([*words, *([] if known else ["--backend", plan.backend])])


def _record(path: str) -> Evaluation:
    """Return the evaluation of a run, in a folder, or of a model file.

    Raises:
        RunError: there is no evaluation.
    """
    # Imported here because it loads NumPy, which is slow.
    from kmtard.evaluation.result import Evaluation

    model = Path(path)
    if model.suffix != ".keras":
        return Evaluation.load(path)
    folder = model.with_suffix(".evaluation")
    if not (folder / RECORD).exists():
        raise RunError(
            f"Expected an evaluation of {path} in {folder}, but found none. Evaluate "
            f"the model first: kmtard evaluate {shlex.quote(path)} --data NAME"
        )
    return Evaluation.load(folder)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = Parser(
        prog=prog,
        description="Evaluate a model under attacks. If the evaluation was stopped, "
        "the same command continues it.",
        argument_default=argparse.SUPPRESS,
    )
    add, path = parser.add_argument, os.path.expanduser
    add("model", nargs="?", type=path, help="folder of a run, to evaluate its best "
        "student with the settings of its recipe; a .keras file; or "
        "robustbench:NAME")  # fmt: skip
    add("--weights", metavar="FILE", type=path, help="state dict of robustbench:NAME, "
        "as RobustBench publishes it")  # fmt: skip
    add("--attacks", type=_names, help="attacks, separated by commas (default: the "
        "recipe's)")  # fmt: skip
    add("--suite", help=f"named set of attacks: {', '.join(SUITES)}")
    add("--data", help="data set with the test images (default: the recipe's)")
    add("--directory", type=path, help="folder with the data set's files")
    add("--limit", type=int, help="number of test images to use (default: all)")
    add("--epsilon", type=_number, help="radius of the ball for images in [0, 1], such "
        "as 8/255")  # fmt: skip
    add("--epsilons", metavar="A,B,...", type=_radii, help="several radii, such as "
        "0,2/255,4/255,8/255, for robust accuracy over the radius")  # fmt: skip
    add("--step-size", type=_number, help="length of a PGD step (default: the paper's, "
        "scaled with epsilon)")  # fmt: skip
    add("--steps", type=int, help="steps of PGD (default: the paper's)")
    add("--norm", choices=NORMS, help="norm of the ball (default: the recipe's, or "
        "linf); in l1, epsilon is a sum over all pixel values, such as 12")  # fmt: skip
    add("--loss", metavar="MODULE:FUNCTION", help="your own loss for an adaptive "
        "attack, a function of labels and logits that fgsm, pgd_* and apgd_ce maximize "
        "(default: the cross-entropy)")  # fmt: skip
    add("--surrogate", metavar="FILE", type=path, help=".keras file of the model on "
        "which transfer attacks craft their images (default: the run's robust "
        "teacher)")  # fmt: skip
    add("--corruptions", nargs="?", const=ALL, metavar="NAMES", type=path, help="also "
        "evaluate common corruptions: all fifteen of ImageNet-C, NAMES separated by "
        "commas, or the folder of the published files of CIFAR-10-C")  # fmt: skip
    add("--corruption-baseline", metavar="FILE", type=path, help="JSON file with the "
        "errors of a model, corruption -> error in (0, 1], for the mean corruption "
        "error (mCE)")  # fmt: skip
    add("--input-range", metavar="LOW,HIGH", type=_range, help="range of the images "
        "that the model expects, such as 0,255 (default: 0,1)")  # fmt: skip
    add("--batch-size", type=int, help="images per batch")
    add("--seed", type=int, help="seed for all random numbers")
    add("--backend", choices=BACKENDS, help="Keras backend")
    add("--devices", metavar="N", type=_devices, help='devices that share each batch, '
        'or "all" (default: as the run, or 1); needs --backend jax')  # fmt: skip
    add("--threads", metavar="N", type=count, help="threads that compute on a CPU "
        "(default: as the run, or one per core)")  # fmt: skip
    add("--output", metavar="FOLDER", type=path, help="folder for the results "
        "(default: the run's folder, or MODEL.evaluation)")  # fmt: skip
    add("--save-images", action="store_true", help="save all adversarial images")
    add("--per-class", action="store_true", help="also show the accuracy per class, "
        "the worst class and what images are taken for")  # fmt: skip
    add("--compare", nargs=2, metavar=("A", "B"), type=path, help="compare two "
        "evaluated models, runs or .keras files, by McNemar's test")  # fmt: skip
    add("--strict", action="store_true", help=f"exit with {NOT_QUOTABLE} if the robust "
        "accuracy must not be quoted")  # fmt: skip
    add_trust(parser)
    return parser


def _number(text: str) -> float:
    try:
        return float(Fraction(text.replace(" ", "")))
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(
            f"expected a number or a fraction such as 8/255, received {text!r}"
        ) from None


def _radii(text: str) -> tuple[float, ...]:
    return tuple(_number(each) for each in _names(text))


def _range(text: str) -> tuple[float, float]:
    low, _, high = text.partition(",")
    with contextlib.suppress(ValueError):
        if float(low) < float(high):
            return float(low), float(high)
    raise argparse.ArgumentTypeError(
        "expected two increasing numbers such as 0,255 (a negative first number needs "
        f"an equals sign: --input-range=-1,1), received {text!r}"
    )


def _devices(text: str) -> int | str:
    if text == "all":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'expected a whole number or "all", received {text!r}'
        ) from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _evaluated(plan: Plan, subject: Subject, stop: StopSignal) -> list[Results]:
    choose_backend(plan.backend, plan.threads)
    with silent_native_code():
        plan.prepare()
        modules.import_allowed()
    screen = Console()
    folder = plan.output or subject.folder
    tell(screen, f"results: {folder}  backend: {plan.backend}")
    if plan.input_range:
        low, high = plan.input_range
        text = f"the model gets images in [{low:g}, {high:g}]; epsilon is for [0, 1]"
        tell(screen, text)
    display = Display(screen, stop)
    with display.bars, telling_warnings(lambda text: tell(screen, text)):
        if plan.epsilons:
            found = plan.execute_curve(subject, display.at)
            return [each.results for each in found]
        return [plan.execute(subject, display).results]


def _show(records: Sequence[Results], *, per_class: bool) -> None:
    """Print the tables of one evaluation, or of one per radius in ascending order."""
    screen = Console()
    if not screen.is_terminal:
        screen.width = WIDTH
    for results in records:
        screen.print(to_rich(attacks_table(results, results.student)))
        if per_class:
            screen.print(to_rich(classes_table(results, results.student)))
            if results.student.headline:
                screen.print(to_rich(confusion_table(results, results.student)))
        if published := published_table(results):
            screen.print(to_rich(published))
        if corruptions := corruptions_table(results, results.student):
            screen.print(to_rich(corruptions))
        for finding in results.student.findings:
            tell(screen, f"warning: {finding.name}: {finding.message}")
    if len(records) > 1:
        screen.print(to_rich(radii_table(records)))


def _tell_verdict(found: Verdict, words: Sequence[str]) -> None:
    """Print the verdict, the findings behind it, and the command to run next.

    Args:
        found: the verdict.
        words: the command line of this evaluation.
    """
    screen = Console()
    tell(screen, f"verdict: {found.sentence}")
    if found.reasons:
        names = dict.fromkeys(each.name for each in found.reasons)
        tell(screen, f"  findings: {', '.join(names)}")
    if found.advice:
        tell(screen, f"  {found.advice}")
    if found.attacks:
        command = [*without_options(words, "--attacks", "--suite"), "--attacks"]
        tell(screen, f"  run: {shlex.join([*command, ','.join(found.attacks)])}")


class Display:
    """Shows the progress of an evaluation, and ends it when a signal was received.

    Args:
        screen: console to print on. Bars are drawn only in a terminal.
        stop: says whether a signal was received.
    """

    def __init__(self, screen: Console, stop: StopSignal) -> None:
        self._screen, self._stop = screen, stop
        self._tasks: dict[str, TaskID] = {}
        self._told = time.monotonic()
        self._radius = ""
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}  {task.fields[accuracy]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=screen,
            transient=True,
            disable=not screen.is_terminal,
        )

    def at(self, epsilon: float, step: Step) -> None:
        """Show a step of the evaluation at one of several radii.

        Raises:
            Stopped: a signal was received.
        """
        radius = f"epsilon {radius_text(epsilon)}: "
        if radius != self._radius:
            self._radius, self._tasks = radius, {}
        self(step)

    def __call__(self, step: Step) -> None:
        """Show a step.

        Raises:
            Stopped: a signal was received.
        """
        accuracy = "" if step.accuracy is None else f"{percent(step.accuracy)} %"
        place = f"{self._radius}{step.attack} ({step.number}/{step.attacks})"
        if step.doing is not None:
            self._tell_within(step, place)
            return
        if step.attack not in self._tasks:
            task = self.bars.add_task(place, total=step.images, accuracy=accuracy)
            self._tasks[step.attack] = task
        task = self._tasks[step.attack]
        self.bars.update(task, completed=step.done, accuracy=accuracy)
        if step.note:
            self._line(f"{place}: {step.note}")
        if step.done == step.images:
            self.bars.update(task, visible=False)
            self._line(f"{place}: accuracy {accuracy or '0.00 %'}")
        elif step.done:
            self._tell_seldom(step, place)
        self._stop.check()

    def _tell_within(self, step: Step, place: str) -> None:
        """Show the progress within a batch. The evaluation cannot be stopped there."""
        if step.doing:
            task = self._tasks[step.attack]
            self.bars.update(task, description=f"{place}, {step.doing}")
        self._tell_seldom(step, place)

    def _tell_seldom(self, step: Step, place: str) -> None:
        """Without a terminal, print the progress of an attack every few seconds."""
        now = time.monotonic()
        if self._screen.is_terminal or now - self._told < SECONDS:
            return
        doing = f", {step.doing}" if step.doing else ""
        accuracy = "" if step.accuracy is None else f", {percent(step.accuracy)} %"
        self._line(f"{place}{doing}: {step.done} of {step.images} images{accuracy}")

    def _line(self, text: str) -> None:
        self._told = time.monotonic()
        tell(self._screen, text)
