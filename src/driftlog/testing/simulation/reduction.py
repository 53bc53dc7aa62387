"""The shortest list of faults that still fails: delta debugging (Zeller and Hildebrandt, 2002) over a run's plan."""

from collections.abc import Callable
from typing import Final

from driftlog.testing.simulation.plan import Plan

RUNS_MAX: Final = 300
"""A reduction that takes longer is given as it is by then: half a minute for somebody who waits for it."""


def reduce(plan: Plan, fails: Callable[[Plan], bool], runs_max: int = RUNS_MAX) -> Plan:
    """Leave out of a failing plan what it fails without: parts of it first, at the end every single moment.

    Each moment draws from a seed of its own, so that leaving out one does not change what the others do.
    """
    left = runs_max
    size = max(1, len(plan.moments) // 2)
    while True:
        is_shorter = False
        at = 0
        while at < len(plan.moments):
            if left == 0:
                return plan
            left -= 1
            shorter = plan.without(set(range(at, min(at + size, len(plan.moments)))))
            if fails(shorter):
                plan = shorter
                is_shorter = True
            else:
                at += size
        if size == 1 and not is_shorter:
            return plan
        size = max(1, size // 2)
