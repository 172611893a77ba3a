"""The options by which a command line says which code may run."""

from __future__ import annotations

import argparse


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add `--import` and `--trust`; where they are not given, [] and False."""
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module of your own that is imported, and that a recipe may name; may "
        "be given again",
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        default=False,
        help="run the code that a recipe names although it may be a stranger's",
    )
