"""Seeds of the random tests. A failure names its seed, which a variable can set."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator

VARIABLE = "KMTARD_TEST_SEED"


def seeds(count: int) -> list[int]:
    """Return seeds for the given number of cases, or the one in the environment."""
    named = os.environ.get(VARIABLE)
    return [int(named)] if named else list(range(count))


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[random.Random]:
    """Yield the random numbers of a seed. A failure says how to repeat the case."""
    try:
        yield random.Random(seed)
    except BaseException as error:
        error.add_note(f"repeat it with {VARIABLE}={seed}")
        raise
