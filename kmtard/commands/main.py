"""`kmtard COMMAND`: the commands by name, each imported only when it runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

import kmtard

COMMANDS = {
    "fit": "train what a recipe says",
    "study": "train every cell of a grid and gather one table",
    "evaluate": "evaluate a model under attacks, or compare two evaluations",
    "convert": "turn a file of weights into another kind of file",
    "report": "show many runs in one table",
    "benchmark": "time a training step, the input pipeline, a device",
}
"""Name of each command -> what it does; the module has the same name."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code.

    Args:
        argv: the name of the command and its arguments; `sys.argv[1:]` when None.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = _parser().parse_args(words[:1])
    command = import_module(f"kmtard.commands.{arguments.command}")
    code: int = command.main(words[1:], prog=f"kmtard {arguments.command}")
    return code


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, text in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog="kmtard",
        description="Train and evaluate adversarially robust image classifiers.",
        epilog="commands:\n"
        + "\n".join(lines)
        + "\n\n`kmtard COMMAND --help` shows the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"kmtard {kmtard.__version__}"
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    return parser
