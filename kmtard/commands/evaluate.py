"""Judge a model: `python -m kmtard.evaluate RUN_OR_MODEL --attacks fgsm,autoattack`.

In code: `from kmtard.commands.evaluate import evaluate`.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from rich.console import Console

from kmtard import registry
from kmtard.commands.evaluation_display import Display
from kmtard.commands.evaluation_plan import Plan, find_subject
from kmtard.commands.trust import add_trust
from kmtard.evaluation import comparison, tables
from kmtard.evaluation.result import Evaluation
from kmtard.evaluation.suites import SUITES, needs_surrogate
from kmtard.registry import RegistryError, modules
from kmtard.runs import RunError
from kmtard.training.startup import choose_backend, silent_native_code
from kmtard.training.stopping import Stopped, StopSignal
from kmtard.training.subject import Subject, load_model

BAD_COMMAND_LINE = 2
FAILED = 1
WIDTH = 110  # of the table in a file
BACKENDS = ("jax", "tensorflow", "torch")


def main(argv: Sequence[str] | None = None, *, prog: str = "kmtard evaluate") -> int:
    """Run the command; return its exit code.

    0: finished, or stopped by a signal, and the same command goes on. 1: failed.
    2: the command line is wrong, all that is wrong was said, and nothing was started.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    parser = _parser(prog)
    given = vars(parser.parse_args(words))
    errors = Console(stderr=True)
    try:
        if compared := given.pop("compare", None):
            Console().print(comparison.terminal(*map(Evaluation.load, compared)))
            return 0
        if "model" not in given:
            parser.error("expected a run's folder, a .keras file, or --compare A B")
        trust, imports = given.pop("trust"), given.pop("imports")
        for module in imports:
            modules.allow(module)
        subject, mistakes = find_subject(given["model"], trust=trust)
        plan = Plan.of(given, subject.recipe if subject else None)
        mistakes += plan.mistakes(subject)
        if subject is None or mistakes:
            errors.out("\n".join(mistakes), highlight=False)
            return BAD_COMMAND_LINE
        with StopSignal() as stop:
            _show(_judged(plan, subject, stop))
    except Stopped:
        command = shlex.join([*prog.split(), *words])
        Console().out(f"stopped; go on with: {command}", highlight=False)
    except RegistryError as error:
        errors.out(str(error), highlight=False)
        return BAD_COMMAND_LINE
    except (RunError, ValueError) as error:
        errors.out(f"failed: {error}", highlight=False)
        return FAILED
    return 0


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Judge a model under attacks. Where it was stopped or killed, the "
        "same command goes on.",
        argument_default=argparse.SUPPRESS,
    )
    add, path = parser.add_argument, os.path.expanduser
    add("model", nargs="?", type=path, help="a run's folder, for its best student and "
        "its recipe, or a .keras file")  # fmt: skip
    add("--attacks", type=_names, help="names with commas; the recipe's if left out")
    add("--suite", help=f"attacks that belong together: {', '.join(SUITES)}")
    add("--data", help="data set, of which the test images are taken")
    add("--directory", type=path, help="folder with the data set's files")
    add("--limit", type=int, help="use only so many images")
    add("--epsilon", type=_number, help="radius of the ball, such as 8/255")
    add("--step-size", type=_number, help="of PGD; the paper's, scaled with epsilon")
    add("--steps", type=int, help="of PGD; the paper's")
    add("--surrogate", metavar="FILE", type=path, help=".keras file of the model that "
        "images are transferred from; the run's robust teacher")  # fmt: skip
    add("--batch-size", type=int, help="images attacked at a time")
    add("--seed", type=int, help="of every random number")
    add("--backend", choices=BACKENDS, help="of Keras")
    add("--output", metavar="FOLDER", type=path, help="where the results go; the run's "
        "folder, or MODEL.evaluation")  # fmt: skip
    add("--save-images", action="store_true", help="keep the adversarial images")
    add("--compare", nargs=2, metavar=("A", "B"), type=path, help="test by McNemar "
        "which of two evaluated models is better")  # fmt: skip
    add_trust(parser)
    return parser


def _number(text: str) -> float:
    try:
        return float(Fraction(text.replace(" ", "")))
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(
            f"expected a number or a fraction such as 8/255, received {text!r}"
        ) from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _judged(plan: Plan, subject: Subject, stop: StopSignal) -> Evaluation:
    choose_backend(plan.backend)
    with silent_native_code():
        from kmtard.evaluation.evaluator import evaluate
        from kmtard.evaluation.images import ImageSet

        modules.import_allowed()
        load_data = registry.resolve("datasets", str(plan.data))
    test = load_data(plan.directory).test.limit(plan.limit)
    screen = Console()
    display = Display(screen, stop)
    folder = plan.output or subject.folder
    screen.out(f"results: {folder}  backend: {plan.backend}", highlight=False)
    with display.bars:
        return evaluate(
            subject.load_model(),
            ImageSet(f"{plan.data} (test)", test.images, test.labels, 255.0),
            attacks=plan.attacks,
            suite=plan.suite,
            epsilon=plan.epsilon,
            step_size=plan.step_size,
            steps=plan.steps,
            surrogate=_surrogate(plan, subject),
            seed=plan.seed,
            batch_size=plan.batch_size,
            folder=folder,
            save_images=plan.save_images,
            name=str(subject.path),
            watch=display,
        )


def _surrogate(plan: Plan, subject: Subject) -> Any:
    names = (*plan.attacks, *SUITES.get(plan.suite or "", ()))
    if not any(map(needs_surrogate, names)):
        return None
    return load_model(Path(plan.surrogate)) if plan.surrogate else subject.teacher()


def _show(evaluation: Evaluation) -> None:
    screen = Console()
    if not screen.is_terminal:
        screen.width = WIDTH
    screen.print(tables.terminal(evaluation))
    for finding in evaluation.findings:
        screen.out(f"warning: {finding.name}: {finding.message}", highlight=False)
