"""Ratios on a machine that is never quiet: what is compared takes turns, and the median of the turns counts.

Two things measured one after the other differ by what else the machine did meanwhile; two that alternate within a second
mostly share it. The order within a turn is reversed every other time, so that neither always runs on the warmer cache.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

Rate = Callable[[], float]
"""Does a slice of work, and gives how much of it was done a second."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one thing."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Sum measurements up."""
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Figure:
    """A result: how fast we are, how fast the floor is, and the ratio turn by turn."""

    work: str
    ours: Spread
    """Events a second."""
    floor: Spread
    """The same rows a second, by the means that `floor_is` names."""
    ratio: Spread
    floor_is: str
    goal: str = ""
    is_goal_met: bool | None = None


@dataclass(frozen=True, slots=True)
class Amount:
    """A result that is no speed: how much there is of something."""

    what: str
    value: float
    unit: str
    goal: str
    is_goal_met: bool


def compare(
    work: str, ours: Rate, floor: Rate, *, turns: int, floor_is: str = "plain SQLite", ratio_min: float | None = None
) -> Figure:
    """Alternate two slices of work. One turn more than `turns` is made: the first, on cold caches, does not count."""
    rates: list[tuple[float, float]] = []
    for turn in range(turns + 1):
        if turn % 2:
            floor_rate = floor()
            our_rate = ours()
        else:
            our_rate = ours()
            floor_rate = floor()
        rates.append((our_rate, floor_rate))
    counted = rates[1:]
    ratio = Spread.of([our_rate / floor_rate for our_rate, floor_rate in counted])
    return Figure(
        work,
        Spread.of([our_rate for our_rate, _ in counted]),
        Spread.of([floor_rate for _, floor_rate in counted]),
        ratio,
        floor_is,
        "" if ratio_min is None else f"≥ {ratio_min:.2f} of the floor",
        None if ratio_min is None else ratio.median >= ratio_min,
    )


def rate_for(seconds: float, step: Callable[[], int]) -> float:
    """Repeat a step until the time is over, and give how much it did a second; a step gives how much it did."""
    done = 0
    begin = time.perf_counter()
    while True:
        done += step()
        passed = time.perf_counter() - begin
        if passed >= seconds:
            return done / passed


def rate_of(step: Callable[[], int]) -> float:
    """Do a step once, and give how much it did a second."""
    return rate_for(0.0, step)
