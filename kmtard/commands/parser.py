"""The parser of all command lines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any


def count(text: str) -> int:
    """Parse an option's value as a whole number of at least 1, for argparse's `type`.

    Raises:
        argparse.ArgumentTypeError: it is not such a number.
    """
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a whole number. Received: {text!r}."
        ) from None
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1. Received: {number}.")
    return number


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that refuses `--` in the place of an option's value.

    In Python 3.11, `--set --` gives the option an empty list instead of an error
    (github.com/python/cpython/issues/59317).
    """

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> argparse.Namespace:
        """Return the arguments; a wrong command line ends the process with 2."""
        words = list(sys.argv[1:] if args is None else args)
        for option, value in pairwise(words):
            action = self._option_string_actions.get(option)
            if value == "--" and action is not None and action.nargs is None:
                self.error(f"argument {option}: expected a value. Received: --.")
        return super().parse_args(words, namespace)
