"""The plan of a rebase: from where the view is rewound, given what is applied and what has arrived.

One pure function. Its outcome covers a whole received batch, however many of its events are late; finer outcomes (apply
in place, replay only what depends) will be further cases of the same result.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from driftlog._core.clock import Timestamp


@dataclass(frozen=True, slots=True)
class Extend:
    """Everything that arrived lies after everything applied: apply it in order."""


@dataclass(frozen=True, slots=True)
class Rewind:
    """Undo every applied event from `start` on, then replay them merged with what arrived."""

    start: Timestamp


Rebase = Extend | Rewind


def plan_rebase(last_applied: Timestamp | None, arrived: Sequence[Timestamp]) -> Rebase:
    """Decide how a batch is taken in.

    `last_applied` is the greatest timestamp in the view's order; `arrived` is what now joins it, in any order: received
    events that are neither void nor held, and held ones whose time has come.
    """
    assert arrived
    earliest = min(arrived)
    if last_applied is None or earliest > last_applied:
        return Extend()
    return Rewind(start=earliest)
