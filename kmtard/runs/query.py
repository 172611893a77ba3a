"""The filter of a list of runs: words, numbers, dates and tags.

```
w>66 method:trades seed:0 tag:final after:2026-11-01 mobilenet
```
"""

from __future__ import annotations

import math
import operator
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

from kmtard.runs.formats import DAY, HOUR, MINUTE

NUMBERS = {
    "w": "W-Robust",
    "w-robust": "W-Robust",
    "clean": "clean",
    "robust": "robust",
    "progress": "progress",
    "time": "time",
    "left": "left",
    "radius": "radius",
    "seed": "seed",
}
"""Word in a filter -> the number that it is about. Accuracies and progress are in %."""

TEXTS = ("state", "name", "method", "data", "study", "tag", "note", "where", "network")
DATES = ("after", "before")
SPANS = ("time", "left")
UNITS = {"s": 1, "m": MINUTE, "h": HOUR, "d": DAY}

COMPARED: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    ":": operator.eq,
    "=": operator.eq,
}
WORD = re.compile(r"([\w-]+?)(>=|<=|[<>:=])(.*)", re.DOTALL)
FORMS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m")

Test = Callable[[Mapping[str, str], Mapping[str, float | None]], bool]


@dataclass(frozen=True)
class Query:
    """A filter that was read.

    Attributes:
        tests: what must hold, one function per word.
        mistakes: what is wrong with a word; with any, nothing matches.
    """

    tests: tuple[Test, ...]
    mistakes: tuple[str, ...]

    def matches(
        self, texts: Mapping[str, str], numbers: Mapping[str, float | None]
    ) -> bool:
        """Return whether every word holds.

        Args:
            texts: name -> text, in any case. A word without a name is looked for in
                all of them.
            numbers: the values of `NUMBERS`, and `created` in UNIX seconds. Missing
                and None match nothing.
        """
        return not self.mistakes and all(test(texts, numbers) for test in self.tests)


@lru_cache(maxsize=32)
def read_query(text: str) -> Query:
    """Read a filter.

    A word is looked for in all texts, `name:word` in one. Numbers are compared with
    `>`, `>=`, `<`, `<=` and `:`, times such as `time>2h` too. `after:` a day includes
    it, `before:` does not. A word whose value has not been typed yet matches.

    Example:
        >>> query = read_query("w>66 method:trades")
        >>> query.matches({"method": "trades"}, {"W-Robust": 67.5})
        True
        >>> read_query("w>high").mistakes
        ("Expected a number after 'w>'. Received: 'high'.",)
    """
    tests: list[Test] = []
    mistakes: list[str] = []
    for word in text.casefold().split():
        found = WORD.fullmatch(word)
        field, sign, value = found.groups() if found else ("", "", word)
        try:
            if field in DATES and sign in ":=":
                if value:
                    tests.append(_of_date(field, value))
            elif field in NUMBERS:
                if value:
                    tests.append(_of_number(field, sign, value))
            elif field in TEXTS and sign in ":=":
                tests.append(_of_text((field,), value))
            else:
                tests.append(_of_text((), word))
        except ValueError as error:
            mistakes.append(str(error))
    return Query(tuple(tests), tuple(mistakes))


def _of_text(names: Collection[str], wanted: str) -> Test:
    def test(texts: Mapping[str, str], numbers: Mapping[str, float | None]) -> bool:
        del numbers
        searched = [texts.get(name, "") for name in names] or texts.values()
        return any(wanted in text.casefold() for text in searched)

    return test


def _of_number(field: str, sign: str, text: str) -> Test:
    wanted, compare, name = _number(field, sign, text), COMPARED[sign], NUMBERS[field]

    def test(texts: Mapping[str, str], numbers: Mapping[str, float | None]) -> bool:
        del texts
        value = numbers.get(name)
        # Tables round to two decimals.
        return value is not None and compare(
            round(value, 4 if name == "radius" else 2), wanted
        )

    return test


def _number(field: str, sign: str, text: str) -> float:
    factor = 1.0
    if field in SPANS and text[-1] in UNITS:
        text, factor = text[:-1], UNITS[text[-1]]
    try:
        numerator, slash, denominator = text.partition("/")
        value = float(numerator) / float(denominator) if slash else float(text)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        span = " such as 90m or 2h" if field in SPANS else ""
        raise ValueError(
            f"Expected a number{span} after {field + sign!r}. Received: {text!r}."
        )
    return round(value * factor, 4)


def _of_date(field: str, text: str) -> Test:
    moment = _moment(field, text)

    def test(texts: Mapping[str, str], numbers: Mapping[str, float | None]) -> bool:
        del texts
        created = numbers.get("created")
        if not created:
            return False
        return created >= moment if field == "after" else created < moment

    return test


def _moment(field: str, text: str) -> float:
    for form in FORMS:
        try:
            return time.mktime(time.strptime(text.upper(), form))
        except (ValueError, OverflowError):
            continue
    raise ValueError(f"Expected a day such as {field}:2026-11-01. Received: {text!r}.")
