"""`kmtard benchmark`: time a step, the input pipeline, a device or the interface."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from kmtard.benchmarks import (
    against,
    attacks,
    device_report,
    growth,
    launcher,
    pipeline,
    step,
)
from kmtard.benchmarks.against.table import table as against_table
from kmtard.benchmarks.attacks.table import table as attacks_table
from kmtard.benchmarks.terminal import TerminalError
from kmtard.commands.parser import Parser, count
from kmtard.runs.visible import accept_any_text, visible_lines
from kmtard.training.startup import check_backend, thread_variables

PASSED_ON = ("backend", "batch_size", "repeats", "steps", "unroll", "jit")
"""Options that are passed to the separate process of each network."""

INSTEAD = ("device-report", "launcher", "against", "attacks", "growth")
"""Options that measure something else than a step and the input pipeline."""


def main(argv: Sequence[str] | None = None, *, prog: str = "kmtard benchmark") -> int:
    """Run the command.

    Args:
        argv: the arguments; `sys.argv[1:]` if None.
        prog: name of the command in messages.

    Returns:
        The exit code. For a device report, see `device_report.main`. 1: the terminal
        interface could not be measured.
    """
    accept_any_text()
    parser = _parser(prog)
    arguments = parser.parse_args(argv)
    given = [
        f"--{name}" for name in INSTEAD if getattr(arguments, name.replace("-", "_"))
    ]
    if len(given) > 1:
        parser.error(f"Each measures something else: {' and '.join(given)}. Give one.")
    if not (arguments.against or arguments.attacks):
        if arguments.work or arguments.no_compile:
            parser.error(
                "--work and --no-compile belong to a comparison. Add --against torch "
                "or --attacks, or leave them out."
            )
    if arguments.threads and set(given) - {"--against"}:
        parser.error(f"{given[0]} would ignore --threads. Leave it out.")
    if arguments.device_report:
        return device_report.main(arguments)
    if arguments.launcher:
        if mistake := launcher.mistake(arguments):
            parser.error(mistake)
        try:
            result = launcher.measure(arguments)
        except TerminalError as error:
            sys.stderr.write(f"{prog}: {visible_lines(str(error))}\n")
            return 1
        _write([result], launcher.table(result), arguments.json)
        return 0
    if backend := arguments.backend or os.environ.get("KERAS_BACKEND"):
        try:
            check_backend(backend)
        except ValueError as error:
            parser.error(str(error))
    if arguments.against:
        return _against(parser, arguments)
    if arguments.attacks:
        return _attacks(parser, arguments)
    if arguments.growth:
        if mistake := growth.mistake(arguments):
            parser.error(mistake)
        results = []
        for row in growth.rows(arguments):
            results.append(row)
            sys.stderr.write(f"{row['group']}: {row['size']} done\n")
        _write(results, growth.table(results), arguments.json)
        return 0
    if arguments.threads:
        os.environ.update(thread_variables(arguments.threads))
    if arguments.net == "all":
        nets = (*step.NETS, pipeline.NAME)
        results = [_in_own_process(arguments, net) for net in nets]
        *steps, data = results
        for result in steps:
            rates = result["images_per_second"], data["images_per_second"]
            result["data_share"] = rates[0] / rates[1]
    else:
        measured = pipeline if arguments.net == pipeline.NAME else step
        results = [measured.measure(arguments)]
    _write(results, _table(results), arguments.json)
    return 0


def _against(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    names = _works(parser, arguments, against.WORKS)
    if arguments.net == pipeline.NAME:
        parser.error(
            f"--against: expected --net {', '.join(step.NETS)} or all. "
            f"Received: {pipeline.NAME!r}, which has no PyTorch version."
        )
    for option in ("unroll", "jit"):
        if getattr(arguments, option) != "auto":
            parser.error(
                f"--against measures the default. Received: --{option} "
                f"{getattr(arguments, option)}. Leave the option out."
            )
    if importlib.util.find_spec("torch") is None:
        parser.error(
            "--against torch needs PyTorch, which is not installed. Install "
            "kmtard[torch]."
        )
    nets = list(step.NETS) if arguments.net == "all" else [arguments.net]
    rules = against.Rules(
        backend=arguments.backend,
        rounds=arguments.repeats,
        batch_size=arguments.batch_size,
        count=arguments.steps,
        compiler=None if arguments.no_compile else "inductor",
        threads=arguments.threads,
    )
    results = []
    try:
        for row in against.rows(nets, names, rules):
            results.append(row)
            sys.stderr.write(f"{row['net']} {row['work']} done\n")
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    _write(results, against_table(results), arguments.json)
    return 0


def _attacks(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    names = _works(parser, arguments, attacks.ATTACKS)
    if arguments.net == pipeline.NAME:
        parser.error(
            f"--attacks: expected --net {', '.join(attacks.NETS)} or all. "
            f"Received: {pipeline.NAME!r}."
        )
    ignored = [
        f"--{option}"
        for option in ("unroll", "jit", "steps", "no-compile")
        if getattr(arguments, option.replace("-", "_")) not in ("auto", None, False)
    ]
    if ignored:
        parser.error(f"--attacks would ignore {', '.join(ignored)}. Leave it out.")
    packages = attacks.installed()
    for missing in attacks.PACKAGES:
        if missing not in packages:
            sys.stderr.write(f"{missing} is not installed, so it is left out.\n")
    nets = list(attacks.NETS) if arguments.net == "all" else [arguments.net]
    rules = attacks.Rules(
        backend=arguments.backend,
        rounds=arguments.repeats,
        batch_size=arguments.batch_size or attacks.IMAGES,
    )
    results = []
    try:
        for row in attacks.rows(nets, names, packages, rules):
            results.append(row)
            sys.stderr.write(
                f"{row['net']} {row['epsilon']:.3f} {row['attack']} done\n"
            )
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    _write(results, attacks_table(results), arguments.json)
    return 0


def _works(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, known: Iterable[str]
) -> list[str]:
    """Return the names in --work; all that are known if there are none."""
    known = list(known)
    names = arguments.work.split(",") if arguments.work else known
    for name in names:
        if name not in known:
            parser.error(
                f"--work: expected names from {', '.join(known)}. Received: {name!r}."
            )
    return names


def _write(results: list[dict[str, Any]], table: Table, file: str | None) -> None:
    """Print results as a table and write them as JSON; "-" prints only JSON."""
    if file == "-":
        sys.stdout.write(json.dumps(results) + "\n")
        return
    if file:
        Path(file).write_text(json.dumps(results, indent=2) + "\n")
    Console().print(table)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = Parser(
        prog=prog,
        description="Time one B-MTARD step and the input pipeline. Or compare with "
        "plain PyTorch or with the attacks of other packages, measure how the time "
        "grows with the work, write a report about a device, or measure the terminal "
        "interface.",
    )
    parser.add_argument(
        "--net",
        choices=[*step.NETS, pipeline.NAME, "all"],
        default="all",
        help=f"what to time; {pipeline.NAME} is the input pipeline (default: all)",
    )
    parser.add_argument(
        "--backend",
        choices=["jax", "tensorflow", "torch"],
        help="Keras backend (default: KERAS_BACKEND, or the one that Keras chooses)",
    )
    parser.add_argument("--batch-size", type=count, help="images per step")
    parser.add_argument(
        "--repeats", type=count, default=5, help="number of measurements (default: 5)"
    )
    parser.add_argument("--steps", type=count, help="steps per measurement")
    parser.add_argument(
        "--threads",
        metavar="N",
        type=count,
        help="threads that compute our step or attack on a CPU (default: one per core)",
    )
    parser.add_argument(
        "--unroll",
        choices=["auto", "yes", "no"],
        default="auto",
        help="whether to unroll the attack's loop (default: auto)",
    )
    parser.add_argument(
        "--jit",
        choices=["auto", "yes", "no"],
        default="auto",
        help="whether XLA compiles the step (default: auto)",
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=os.path.expanduser,
        help='also write the figures as JSON; "-" prints only JSON',
    )
    launcher.add_options(parser)
    group = parser.add_argument_group("comparison")
    group.add_argument(
        "--against",
        choices=["torch"],
        help="compare steps and attacks with plain PyTorch instead, in turns",
    )
    group.add_argument(
        "--attacks",
        action="store_true",
        help="compare attacks with those of the packages torchattacks and auto-attack "
        "instead, in turns, as far as they are installed",
    )
    group.add_argument(
        "--work",
        help="what to compare, separated by commas (default: all). --against: "
        f"{', '.join(against.WORKS)}. --attacks: {', '.join(attacks.ATTACKS)}",
    )
    group.add_argument(
        "--no-compile",
        action="store_true",
        help="leave out torch.compile, whose first call takes minutes on a CPU",
    )
    parser.add_argument_group("growth").add_argument(
        "--growth",
        action="store_true",
        help="measure instead how the time grows with batch, classes, steps of the "
        "attack, width and depth of the student, evaluated images, and cells of a "
        "study",
    )
    device_report.add_options(parser)
    return parser


def _in_own_process(arguments: argparse.Namespace, net: str) -> dict[str, Any]:
    # Peak memory can only be measured for a whole process.
    given = [
        f"--{name.replace('_', '-')}={value}"
        for name, value in vars(arguments).items()
        if value is not None and name in PASSED_ON
    ]
    command = [sys.executable, "-m", "kmtard.benchmark", *given, f"--net={net}"]
    output = subprocess.run(
        [*command, "--json=-"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    (result,) = json.loads(output.splitlines()[-1])
    return dict(result)


def _table(results: list[dict[str, Any]]) -> Table:
    table = Table(
        title="One B-MTARD step",
        box=None,
        # Narrow, to fit into a terminal with 80 columns.
        padding=(0, 1, 0, 0),
        caption="Medians. use %: share of the speed of a product of large matrices "
        "that the step's convolutions and dense layers reach; data (row): batches of "
        "32x32x3 images; data % (column): time to read a step's images, as a share of "
        "the step; first: the first step, with compilation; MiB: peak memory.",
    )
    columns = {
        "net": lambda r: r["net"],
        "backend": lambda r: r["backend"],
        "batch": lambda r: str(r["batch_size"]),
        "step ms": lambda r: f"{1e3 * r['step_seconds']:.1f}",
        "use %": lambda r: _shown(r, "utilization", "{:.1f}", 100),
        "images/s": lambda r: f"{r['images_per_second']:.1f}",
        "data %": lambda r: _shown(r, "data_share", "{:.2f}", 100),
        "first s": lambda r: f"{r['first_step_seconds']:.1f}",
        "MiB": lambda r: f"{r['peak_memory_mib']:.0f}",
    }
    for column in columns:
        table.add_column(column, justify="right")
    for result in results:
        table.add_row(*(show(result) for show in columns.values()))
    return table


def _shown(result: dict[str, Any], name: str, form: str, factor: float = 1) -> str:
    return form.format(factor * result[name]) if name in result else "-"
