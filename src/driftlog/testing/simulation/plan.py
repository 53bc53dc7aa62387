"""What is to happen in a run, drawn from its seed: when users work, and which faults come when.

Swarm testing (Groce et al., "Swarm Testing", 2012): each seed leaves out most kinds of fault, and is the more thorough with
those it has; faults that always come together hide what each would show.
"""

import random
from dataclasses import dataclass, replace
from typing import Final

from driftlog.testing.simulation.faults import FAULTS

WORK: Final = "work"
"""A user does something; not a fault."""

FAULTS_MIN: Final = 30
FAULTS_MAX: Final = 40
WORK_PER_FAULT: Final = 0.8
GAPS_MS: Final = (0, 0, 1, 20, 100, 500, 2_000)


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happens so long after what is before it, with a seed of its own."""

    after_ms: int
    name: str
    seed: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens in a run; less of it with some moments left out."""

    seed: int
    devices: int
    relays: int
    moments: tuple[Moment, ...]
    has_drives: bool = False
    """Every second device and the first relay are on drives, which have faults of their own."""

    def faults(self) -> list[int]:
        """Give the places of faults among the moments."""
        return [at for at, moment in enumerate(self.moments) if moment.name != WORK]

    def without(self, places: set[int]) -> "Plan":
        """Leave out moments. The others happen when they would have."""
        moments: list[Moment] = []
        waited_ms = 0
        for at, moment in enumerate(self.moments):
            if at in places:
                waited_ms += moment.after_ms
            else:
                moments.append(replace(moment, after_ms=moment.after_ms + waited_ms))
                waited_ms = 0
        return replace(self, moments=tuple(moments))


def draw(
    seed: int,
    *,
    has_older: bool,
    faults: tuple[int, int] = (FAULTS_MIN, FAULTS_MAX),
    kinds: frozenset[str] | None = None,
) -> Plan:
    """Draw a plan. `faults` bounds how many faults it has, and `kinds` which they may be."""
    rng = random.Random(f"{seed} plan")  # noqa: S311 - to be repeated is what it is for
    possible = [
        name
        for name, fault in FAULTS.items()
        if (has_older or not fault.needs_older) and (kinds is None or name in kinds)
    ]
    chosen = rng.sample(possible, min(len(possible), rng.randint(3, 12)))
    weights = [rng.choice((1, 1, 3, 10)) for _ in chosen]
    has_drives = any(FAULTS[name].needs_drives for name in chosen)
    count = rng.randint(*faults) if chosen else 0
    if has_drives:
        # A fault of a drive happens when the drive is next used, if it is: a third more are tried.
        count += count // 3
    names = rng.choices(chosen, weights, k=count) if count else []
    names += [WORK] * max(5, round(count * WORK_PER_FAULT))
    rng.shuffle(names)
    moments = (Moment(rng.choice(GAPS_MS), name, rng.getrandbits(48)) for name in names)
    return Plan(seed, rng.randint(2, 4), rng.choice((1, 1, 2)), tuple(moments), has_drives)
