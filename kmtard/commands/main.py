"""`kmtard COMMAND`: run a command. Only that command's module is imported."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

import kmtard
from kmtard.commands.parser import Parser
from kmtard.runs.visible import accept_any_text

COMMANDS = {
    "fit": "train the student of a recipe, and its teachers if needed",
    "study": "train many runs of a recipe and write one table",
    "harden": "make a trained Keras model robust, with your images",
    "evaluate": "evaluate a model under attacks, or compare two evaluations",
    "convert": "convert a file of weights to another format",
    "report": "show many runs in one table, or write a report of them",
    "benchmark": "time a training step, the input pipeline or a device",
}
"""Name of each command and of its module -> what it does."""


def main(argv: Sequence[str] | None = None, *, prog: str = "kmtard") -> int:
    """Run a command; return its exit code.

    Args:
        argv: the name of the command and its arguments; `sys.argv[1:]` when None.
        prog: name of the program in messages.
    """
    accept_any_text()
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = _parser(prog).parse_args(words[:1])
    command = import_module(f"kmtard.commands.{arguments.command}")
    code: int = command.main(words[1:], prog=f"{prog} {arguments.command}")
    return code


def _parser(prog: str) -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, text in COMMANDS.items()]
    parser = Parser(
        prog=prog,
        description="Train and evaluate adversarially robust image classifiers.",
        epilog="commands:\n"
        + "\n".join(lines)
        + f"\n\n`{prog} COMMAND --help` shows the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"kmtard {kmtard.__version__}"
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    return parser
