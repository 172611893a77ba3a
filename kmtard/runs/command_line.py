"""Command lines as lists of words: what to leave out when one is repeated."""

from __future__ import annotations

from collections.abc import Sequence


def without_options(words: Sequence[str], *options: str) -> list[str]:
    """Return a command line without some options and their values.

    Example:
        >>> without_options(["--attacks", "fgsm", "--suite=paper", "run"], "--attacks")
        ['--suite=paper', 'run']
    """
    kept: list[str] = []
    skip = False
    for word in words:
        if skip or word.partition("=")[0] in options:
            # The value of an option without an equals sign is the next word.
            skip = not skip and "=" not in word
            continue
        kept.append(word)
    return kept
