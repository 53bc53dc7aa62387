"""How many simulated fleets a core gets through in a second of its own time, with few faults and with many.

The floor is the same fleets without any fault: they are founded, work, sync and are judged all the same. Each turn runs
other seeds, the first ones of a campaign. By the process's own time, because a campaign runs one process a core.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Final

from bench.rounds import Figure, Rate, compare
from driftlog.testing.simulation.campaign import Asked, quiet
from driftlog.testing.simulation.plan import FAULTS_MAX, FAULTS_MIN
from driftlog.testing.simulation.run import run

TURNS: Final = 5
SEEDS: Final = 20
"""A turn: one to seven seconds, and enough for dear seeds and cheap ones to be among them."""
NONE: Final = (0, 0)
FEW: Final = (4, 8)
SEEDS_MIN: Final = 15
"""A second, with few faults."""


def measure(_: Path) -> Iterator[Figure]:
    """Run some 500 seeds, about a minute."""
    with quiet():
        few = _figure(FEW)
        yield replace(few, goal=f"≥ {SEEDS_MIN}/s", is_goal_met=few.ours.median >= SEEDS_MIN)
        yield _figure((FAULTS_MIN, FAULTS_MAX))


def _figure(faults: tuple[int, int]) -> Figure:
    return compare(
        f"a simulated fleet, {faults[0]} to {faults[1]} faults",
        _rate(faults),
        _rate(NONE),
        turns=TURNS,
        floor_is="no fault",
    )


def _rate(faults: tuple[int, int]) -> Rate:
    asked = Asked((), faults)
    versions = asked.versions()
    seeds = count()

    def rate() -> float:
        begun = time.process_time()
        for _ in range(SEEDS):
            outcome = run(asked.plan(next(seeds)), versions)
            assert outcome.failure is None, f"seed {outcome.seed}: {outcome.failure}"
        return SEEDS / (time.process_time() - begun)

    return rate
