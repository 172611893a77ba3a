"""Seeds of the random tests: a failure names its seed, and a variable repeats it."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator

VARIABLE = "KMTARD_TEST_SEED"


def seeds(count: int) -> list[int]:
    """Return the seeds of so many cases, or the one that the environment names."""
    named = os.environ.get(VARIABLE)
    return [int(named)] if named else list(range(count))


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[random.Random]:
    """Give the random numbers of a seed; what fails says how to repeat it."""
    try:
        yield random.Random(seed)
    except BaseException as error:
        error.add_note(f"repeat it with {VARIABLE}={seed}")
        raise
