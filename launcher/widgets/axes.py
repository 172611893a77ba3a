"""Axes of a plot: where a value is, and its ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MULTIPLES = (1, 2, 5, 10)
DISTANCES = ((1, 1), (2, 1), (3, 0), (4, 0), (5, 1))
"""Multiples of a power of ten between even ticks, and whether they are usual ones."""

LOG_MULTIPLES = ((1,), (1, 2, 5), tuple(range(1, 10)))
"""Multiples of a power of ten that are ticks of a logarithmic axis, fewest first."""

ENOUGH = 3  # ticks of a logarithmic axis
FULL = 0.85  # share of the cells that values should fill

Tick = tuple[str, int]
"""The label of a tick and its cell, counted from the low end."""


@dataclass(frozen=True)
class XAxis:
    """What the x axis of a plot shows.

    Attributes:
        name: its name or unit, such as `epoch` or `hours`.
        is_whole: whether its values are whole numbers.

    Example:
        >>> XAxis("epoch").text(12.0), XAxis("hours", is_whole=False).text(1.25)
        ('epoch 12', 'hours: 1.25')
    """

    name: str
    is_whole: bool = True

    def text(self, x: float) -> str:
        """Return a value with the name of the axis."""
        return f"{self.name} {x:.0f}" if self.is_whole else f"{self.name}: {x:.4g}"


EPOCHS = XAxis("epoch")
STEPS = XAxis("step")
AXES = ("epoch", "step", "time")
UNITS = (("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
LEAST_UNITS = 2  # of the unit of an axis of time, at its end


def x_axis_of(axis: str, longest: float) -> tuple[XAxis, float]:
    """Return an axis, and the number by which its places are divided.

    Args:
        axis: one of `AXES`.
        longest: last place on an axis of time, in seconds.

    Example:
        >>> x_axis_of("time", 9000.0)
        (XAxis(name='hours', is_whole=False), 3600.0)
    """
    if axis != "time":
        return (STEPS if axis == "step" else EPOCHS), 1.0
    name, seconds = next(
        (unit for unit in UNITS if longest >= LEAST_UNITS * unit[1]), UNITS[-1]
    )
    return XAxis(name, is_whole=False), seconds


@dataclass(frozen=True)
class Scale:
    """The dots and ticks of the values along one axis.

    Attributes:
        begin: value, or its logarithm, at dot 0.
        per_dot: difference between two dots.
        ticks: label and cell of each tick.
        is_log: whether dots are at equal ratios instead of equal differences.
    """

    begin: float
    per_dot: float
    ticks: Sequence[Tick]
    is_log: bool = False

    def exact(self, value: float) -> float:
        """Return where a value is, in dots from the low end."""
        place = math.log10(value) if self.is_log else value
        return (place - self.begin) / self.per_dot

    def dot(self, value: float) -> int:
        """Return the dot that is nearest to a value."""
        return round(self.exact(value))

    def value(self, dot: float) -> float:
        """Return the value at a dot."""
        place = self.begin + dot * self.per_dot
        return 10.0**place if self.is_log else place


def even_scale(
    low: float,
    high: float,
    cells: int,
    dots: int,
    *,
    apart: int,
    least: float = 0.0,
    is_centered: bool = False,
) -> Scale:
    """Return a scale whose ticks are round numbers, equally many cells apart.

    Args:
        low: smallest value that must have a place.
        high: largest one, greater than `low`.
        cells: number of cells, at least 1.
        dots: number of dots per cell.
        apart: smallest number of cells between two ticks.
        least: smallest difference between two ticks, 1 for whole numbers.
        is_centered: whether ticks are in the middle of their cell, and the values in
            the middle of the cells, instead of `low` at the first dot.

    Example:
        >>> even_scale(0, 40, 41, 2, apart=10).ticks
        (('0', 0), ('10', 10), ('20', 20), ('30', 30), ('40', 40))
    """
    step, every = _step(low, high, max(1, cells - 1), apart, least)
    per_dot = step / (every * dots)
    first = math.ceil(low / step - 1e-9)
    begin = low
    if is_centered:
        spare = (cells * dots - 1) * per_dot - (high - low)
        below = (first * step - low + spare / 2) / per_dot
        middle = (dots - 1) / 2
        # Half a cell is rounded down, so that `high` is not above the last dot.
        below = math.ceil((below - middle) / dots - 0.5) * dots + middle
        begin = first * step - below * per_dot
    cell = max(0, round((first * step - begin) / per_dot)) // dots
    # The room below the values can have a tick, too.
    first, cell = first - cell // every, cell % every
    count = max(0, math.floor((cells - 1 - cell) / every) + 1)
    places = [(first + number) * step for number in range(count)]
    found = zip(tick_labels(places, step), range(cell, cells, every), strict=False)
    return Scale(begin, per_dot, tuple(found))


def _step(
    low: float, high: float, cells: int, apart: int, least: float
) -> tuple[float, int]:
    """Return a round step and its cells, so that the values fill most of the cells."""
    apart = min(apart, cells)
    rough = max((high - low) * apart / cells, least)
    exponent = math.floor(math.log10(rough))
    found: list[tuple[float, int, float, int]] = []
    for power in (exponent, exponent + 1):
        for multiple, is_usual in DISTANCES:
            step = multiple * 10.0**power
            exact = cells * step / (high - low)
            # The small addition is for 0.1 * 3 and the like.
            every = math.floor(exact + 1e-9)
            if every >= apart and step >= least:
                share = min(1.0, every / exact)
                found.append((share, is_usual, step, every))
    usual = next(each for each in found if each[1])
    if usual[0] < FULL:
        # Any step that leaves fewer cells empty, with at least two ticks.
        usual = max([usual, *(each for each in found if 2 * each[3] <= cells)])
    return usual[2:]


def log_scale(low: float, high: float, cells: int, dots: int, *, apart: int) -> Scale:
    """Return a logarithmic scale.

    Args:
        low: smallest value that must have a place, above 0.
        high: largest one, greater than `low`.
        cells: number of cells, at least 1.
        dots: number of dots per cell.
        apart: smallest number of cells between two ticks.
    """
    begin, end = math.log10(low), math.log10(high)
    if end - begin >= ENOUGH - 1:
        even = even_scale(
            begin, end, cells, dots, apart=apart, least=1.0, is_centered=True
        )
        powers = [(f"{10.0 ** int(power):g}", cell) for power, cell in even.ticks]
        if len(powers) >= ENOUGH:
            return Scale(even.begin, even.per_dot, powers, is_log=True)
    per_dot = (end - begin) / max(1, cells * dots - 1)
    plain = Scale(begin, per_dot, (), is_log=True)
    ticks: list[Tick] = []
    for places in _log_places(low, high, max(1, cells // apart)):
        ticks, free = [], 0
        for place in places:
            cell = min(cells - 1, max(0, plain.dot(place)) // dots)
            if cell >= free:
                ticks.append((f"{place:g}", cell))
                free = cell + apart
        if len(ticks) >= ENOUGH:
            break
    return Scale(begin, per_dot, tuple(ticks), is_log=True)


def _log_places(low: float, high: float, most: int) -> list[list[float]]:
    """Return lists of ticks, the ones of the fewest multiples first."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    sparse = powers[:: max(1, math.ceil(len(powers) / most))]
    lists = [[by * 10.0**power for power in sparse for by in LOG_MULTIPLES[0]]]
    if len(sparse) == len(powers):
        lists += [
            [by * 10.0**power for power in powers for by in multiples]
            for multiples in LOG_MULTIPLES[1:]
        ]
    lists.append(ticks(low, high, most))
    return [[place for place in each if low <= place <= high] for each in lists]


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most `most` + 1 round numbers at equal distances.

    Args:
        low: the smallest number allowed.
        high: the largest one.
        most: number of distances.
    """
    rough = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * by for by in (*MULTIPLES, 20) if unit * by >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [number * step for number in range(first, last + 1)]


def tick_labels(places: Sequence[float], step: float) -> list[str]:
    """Return a label for each tick, with as many decimals as tell them apart.

    Example:
        >>> tick_labels([0.0, 0.5, 1.0], 0.5)
        ['0.0', '0.5', '1.0']
    """
    largest = max(map(abs, places), default=0.0)
    if largest >= 1e6 or step < 1e-6:
        digits = max(1, math.ceil(math.log10(max(largest, step) / step)) + 1)
        return [f"{place:.{min(digits, 6)}g}" for place in places]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{place:.{decimals}f}" for place in places]
