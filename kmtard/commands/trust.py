"""The command-line options that allow code to run."""

from __future__ import annotations

import argparse


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add `--import` (default: []) and `--trust` (default: False) to a parser."""
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="import your own module and allow a recipe to name it; can be repeated",
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        default=False,
        help="run the code that a recipe names, even if the recipe may not be yours",
    )
