"""The plan of a rebase: how events that arrive take their place among those that are applied.

Pure functions. Four ways lead to the same view, and only their cost differs:

1. *Weave*, where nothing later depends on an arrival: it is applied as the view stands.
2. *Weave*, where a few later events do: these are undone, and replayed after it, with all that depends on them.
3. *Rewind*: everything later is undone and replayed.
4. *Rebuild*: when little lies before the arrivals, the tables are emptied and everything is replayed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from driftlog._core.clock import Timestamp


class Way(StrEnum):
    """How a batch was taken in."""

    EXTENDED = "extended"
    """All of it lay after everything applied."""
    IN_PLACE = "in place"
    """No event had to be replayed."""
    CLOSURE = "closure"
    """The later events that depend on what arrived were replayed."""
    REWOUND = "rewound"
    """All later events were replayed."""
    REBUILT = "rebuilt"
    """Everything was replayed, into empty tables."""


@dataclass(frozen=True, slots=True)
class Extend:
    """Everything that arrived lies after everything applied: apply it in order."""


@dataclass(frozen=True, slots=True)
class Weave:
    """Apply each arrival among the later events, from `start` on, undoing only those that depend on it."""

    start: Timestamp


def plan_rebase(last_applied: Timestamp | None, arrived: Sequence[Timestamp]) -> Extend | Weave:
    """Decide how a batch is taken in.

    `last_applied` is the greatest timestamp in the view's order; `arrived` is what now joins it or is judged anew, in any
    order: received events that are neither void nor held, and held ones whose time has come.
    """
    assert arrived
    earliest = min(arrived)
    if last_applied is None or earliest > last_applied:
        return Extend()
    return Weave(start=earliest)


UNDONE_ONE_BY_ONE_MIN: Final = 16
"""So few events are always undone one by one: whatever else there is, it is over sooner than counting."""

SHARE_UNDONE_ONE_BY_ONE: Final = 3
"""An event that is found by its dependence costs nearly twice what one costs in a run of all. Beyond a third of the later
events, the rest are likely to follow, and all are undone in one run."""


def undone_one_by_one_max(later: int) -> int:
    """Say how many of `later` events a weave may undo before a rewind of all of them is the better bet."""
    return max(UNDONE_ONE_BY_ONE_MIN, later // SHARE_UNDONE_ONE_BY_ONE)


REWIND_COST: Final = 1
REPLAY_COST: Final = 6
"""What it costs to undo an event, and to replay one: 3.4 µs and 11 µs for one of one row. The proportion here is nearly
twice that, so that a rebuild, which empties every table first, is chosen only where it is clearly cheaper."""


def before_a_rewind_min(later: int) -> int:
    """Say how many events must precede `later` ones for a rewind of these to be the better bet than a rebuild.

    Both replay the later ones. So many are to be looked for and no more: to count a long log takes longer than either.
    """
    return -(-later * REWIND_COST // REPLAY_COST)
