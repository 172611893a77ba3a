"""`kmtard harden MODEL --data IMAGES`: make a trained Keras model robust."""

from __future__ import annotations

import argparse
import io
import os
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rich.console import Console

from kmtard.commands.fit import BAD_RECIPE, FAILED, progress_bar, run_details
from kmtard.commands.parser import Parser, count
from kmtard.commands.trust import add_trust
from kmtard.recipe import Mistake, RecipeError, load
from kmtard.registry import RegistryError, modules
from kmtard.runs import Run, RunError
from kmtard.runs.files import append_regular
from kmtard.runs.visible import accept_any_text, tell, telling_warnings
from kmtard.training.startup import choose_backend, silent_native_code
from kmtard.training.stopping import Stopped

if TYPE_CHECKING:
    from kmtard.hardening.hardening import Work


def main(argv: Sequence[str] | None = None, *, prog: str = "kmtard harden") -> int:
    """Run the command.

    Args:
        argv: the arguments; `sys.argv[1:]` if None.
        prog: name of the command in messages.

    Returns:
        The exit code. 0: finished, shown with `--dry-run`, or stopped by a signal after
        saving a checkpoint. 1: failed. 2: the command line is wrong, and nothing was
        started. 130: Ctrl-C ended it before its training.
    """
    accept_any_text()
    parser = _parser(prog)
    arguments = parser.parse_args(argv)
    if arguments.resume is None and (arguments.model is None or arguments.data is None):
        parser.error("expected MODEL and --data IMAGES, or --resume RUN")
    screen = Console(soft_wrap=True)
    try:
        for module in arguments.imports:
            modules.allow(module)
        if arguments.resume is not None:
            return _resume(arguments, screen)
        return _start(arguments, screen)
    except KeyboardInterrupt:
        tell(screen, "interrupted; nothing was trained")
        return 130
    except (RecipeError, RegistryError) as error:
        tell(Console(stderr=True), error)
        return BAD_RECIPE
    except (RunError, MemoryError) as error:
        text = str(error) or "This computer's memory is too small."
        tell(Console(stderr=True, soft_wrap=True), f"failed: {text}")
        return FAILED


def _start(arguments: argparse.Namespace, screen: Console) -> int:
    backend = arguments.backend or os.environ.get("KERAS_BACKEND") or "tensorflow"
    overrides = [*arguments.overrides]
    if arguments.threads:
        overrides.append(f"runtime.threads={arguments.threads}")
    choose_backend(backend, arguments.threads)
    with silent_native_code():
        from kmtard.hardening.hardening import Work
    modules.import_allowed()

    def line(text: str) -> None:
        tell(screen, text)

    with telling_warnings(line):
        work = Work.prepare(
            arguments.model,
            arguments.data,
            epsilon=arguments.epsilon,
            adv_teacher=arguments.adv_teacher,
            hours=arguments.hours,
            data_options=_data_options(arguments),
            input_range=arguments.input_range,
            class_weights="balanced" if arguments.balanced else None,
            batch_size=arguments.batch_size,
            seed=arguments.seed,
            runs_dir=arguments.runs_dir,
            overrides=overrides,
            tell=line,
        )
    if work.recipe.runtime.threads != arguments.threads:
        given = work.recipe.runtime.threads
        text = f"must be known before the backend starts; use --threads {given}"
        raise RecipeError("", [Mistake("runtime.threads", text, given, place="--set")])
    if arguments.dry_run:
        line(work.recipe.to_toml())
        return 0
    run = work.create(run_details(work.recipe))
    return _carry_out(work, run, screen, arguments.output)


def _resume(arguments: argparse.Namespace, screen: Console) -> int:
    run = Run.open(arguments.resume)
    foreign = None if arguments.trust else run.foreign_reason()
    recipe = load(run.recipe_path, foreign=foreign)
    choose_backend(recipe.runtime.backend, arguments.threads or recipe.runtime.threads)
    with silent_native_code():
        from kmtard.hardening.hardening import Work
    modules.import_allowed()
    work = Work.of_run(run, recipe)
    run.claim(run_details(recipe))
    return _carry_out(work, run, screen, arguments.output)


def _carry_out(work: Work, run: Run, screen: Console, output: str | None) -> int:
    with io.TextIOWrapper(append_regular(run.log_path), encoding="utf-8") as file:
        log = Console(file=file, width=100)

        def line(text: str) -> None:
            tell(screen, text)
            tell(log, text)

        try:
            with progress_bar(screen) as bar:
                found = work.carry_out(run, line, bar if screen.is_terminal else None)
        except Stopped:
            line(f"stopped; continue with: kmtard harden --resume {run.path}")
            return 0
        except Exception as error:
            with suppress(OSError):
                tell(log, traceback.format_exc())
            line(
                f"failed: {type(error).__name__}: {error}\nThe full traceback is in "
                f"{run.log_path}. Continue with: kmtard harden --resume {run.path}"
            )
            return FAILED
        _tell_result(found, line)
        if output is not None:
            _copy(str(found.model), output)
            line(f"copied to {output}")
    return 0


def _tell_result(found: Any, line: Callable[[str], None]) -> None:
    for name in ("clean", "robust", "w_robust"):
        label = {"w_robust": "W-Robust"}.get(name, name)
        before, after = 100 * found.before[name], 100 * found.after[name]
        line(f"{label:8}  before {before:5.1f} %  after {after:5.1f} %")


def _copy(source: str, target: str) -> None:
    import shutil

    from kmtard.runs.files import replaced

    try:
        with replaced(target) as temporary:
            shutil.copyfile(source, temporary)
    except OSError as error:
        raise RunError(f"Cannot write {target}: {error.strerror}.") from error


def _data_options(arguments: argparse.Namespace) -> dict[str, Any]:
    given = {
        "size": arguments.size,
        "fit": arguments.fit,
        "alpha": arguments.alpha,
        "test_share": arguments.test_share,
        "classes": arguments.classes,
        "skip_broken": arguments.skip_broken or None,
    }
    return {key: value for key, value in given.items() if value is not None}


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = Parser(
        prog=prog,
        description="Make a trained Keras classifier robust against small changes of "
        "its images. The result takes and returns what the model does.",
    )
    add = parser.add_argument
    add(
        "model",
        nargs="?",
        metavar="MODEL",
        type=os.path.expanduser,
        help="a .keras file",
    )
    add(
        "--data",
        metavar="IMAGES",
        type=os.path.expanduser,
        help="a folder with one folder per class, or with train/, test/ and maybe "
        "val/; a CSV file of paths and labels; an .npz file; or a registered data set",
    )
    add(
        "--epsilon",
        type=_number,
        default=4 / 255,
        help="largest change of a value in [0, 1] (default: 4/255)",
    )
    add(
        "--hours",
        type=_number,
        default=2.0,
        help="time for everything, such as 2 or 1/6; epochs are chosen from measured "
        "steps (default: 2)",
    )
    add(
        "--adv-teacher",
        metavar="FILE",
        type=os.path.expanduser,
        help=".keras file of a robust teacher; it is trained if left out",
    )
    add(
        "--output",
        metavar="FILE",
        type=os.path.expanduser,
        help="also write the hardened model here; it is always in the run's folder",
    )
    add("--size", type=_size, metavar="H,W", help="size that images are brought to, "
        "for a model that takes any size")  # fmt: skip
    add(
        "--fit",
        choices=("crop", "pad", "stretch"),
        help="how images are brought to the model's size (default: crop)",
    )
    add(
        "--alpha",
        choices=("ignore", "white", "black"),
        help="what shows through transparent pixels (default: ignore)",
    )
    add(
        "--classes",
        type=_names,
        metavar="A,B,...",
        help="the classes in the order of the model's outputs (default: alphabetical)",
    )
    add(
        "--test-share",
        type=_number,
        metavar="SHARE",
        help="share of each class for testing, if there is no test/ (default: 0.2)",
    )
    add("--skip-broken", action="store_true", help="leave out files that cannot be "
        "read")  # fmt: skip
    add("--balanced", action="store_true", help="let all classes count equally")
    add(
        "--input-range",
        type=_range,
        metavar="LOW,HIGH",
        help="values of the images that the model takes (default: found)",
    )
    add("--batch-size", type=int, metavar="N", help="images per step (default: chosen)")
    add("--seed", type=int, default=0, help="seed of the run (default: 0)")
    add("--backend", help="backend of Keras (default: KERAS_BACKEND, or tensorflow)")
    add("--threads", type=count, metavar="N", help="threads that compute on a CPU "
        "(default: one per core; with --resume, as before)")  # fmt: skip
    add("--runs-dir", default="runs", metavar="FOLDER", type=os.path.expanduser,
        help="folder for the run's folder (default: runs)")  # fmt: skip
    add(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="TABLE.KEY=VALUE",
        help="change a key of the recipe, value as in TOML; can be repeated",
    )
    add(
        "--dry-run",
        action="store_true",
        help="examine the model, measure some steps and show the recipe; train nothing",
    )
    add(
        "--resume",
        metavar="RUN",
        type=os.path.expanduser,
        help="folder of a hardening that was stopped, to continue",
    )
    add_trust(parser)
    return parser


def _number(text: str) -> float:
    above, _, below = text.partition("/")
    try:
        return float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(
            f"expected a number, or a fraction such as 4/255, received {text!r}"
        ) from None


def _size(text: str) -> tuple[int, ...]:
    try:
        height, width = map(int, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected height,width such as 64,64, received {text!r}"
        ) from None
    return height, width


def _range(text: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low = high = 0.0
    if not low < high:
        raise argparse.ArgumentTypeError(
            f"expected low,high such as 0,255, received {text!r}"
        )
    return low, high


def _names(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(","))
