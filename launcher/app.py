"""Entry point of the terminal user interface, `kmtard-launch`."""

from __future__ import annotations

import sys


def main() -> int:
    """Say that the screens are not in this release, and what to use instead.

    Returns:
        The exit code of the process, 1.
    """
    sys.stderr.write(
        "kmtard-launch: the screens are not in this release. "
        "Start a run with: python -m kmtard.fit RECIPE\n"
    )
    return 1
