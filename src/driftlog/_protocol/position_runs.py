"""Positions as runs: what came up on a connection takes a few numbers, however many envelopes it was.

Runs are disjoint, in order, and not adjacent. When there would be too many, the shortest are forgotten: each position
forgotten costs one repeat, so those cost the least.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from driftlog._core.ids import Position

Run = tuple[Position, Position]
"""The first and the last, both included."""

NO_RUNS: Final[tuple[Run, ...]] = ()


def joined(runs: tuple[Run, ...], positions: Iterable[Position], *, count_max: int) -> tuple[Run, ...]:
    """Add positions, in any order; at most `count_max` runs remain."""
    merged: list[Run] = []
    for first, last in sorted((*runs, *((position, position) for position in positions))):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    if len(merged) > count_max:
        longest = sorted(merged, key=lambda run: run[0] - run[1])[:count_max]
        merged = sorted(longest)
    return tuple(merged)


def past(runs: tuple[Run, ...], position: Position) -> tuple[Run, ...]:
    """Forget everything up to a position."""
    return tuple((Position(max(first, position + 1)), last) for first, last in runs if last > position)


def holds(runs: tuple[Run, ...], position: Position) -> bool:
    """Tell whether a position is among them."""
    before = bisect_right(runs, position, key=lambda run: run[0])
    return before > 0 and position <= runs[before - 1][1]
