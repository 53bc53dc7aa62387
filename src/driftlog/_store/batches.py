"""What the store is given to append, and what it says of what it received."""

from dataclasses import dataclass
from typing import NamedTuple

from driftlog._core.event import Event
from driftlog._core.merge import Way


class Prepared(NamedTuple):
    """An event that was checked and encoded before the transaction began."""

    event: Event
    payload: bytes


@dataclass(frozen=True, slots=True)
class Received:
    """What a batch of envelopes amounted to."""

    envelopes: int = 0
    """Envelopes that were new, those that wait for a predecessor included."""
    applied: int = 0
    """Events applied for the first time."""
    replayed: int = 0
    """Events that had been applied before and were replayed because earlier ones arrived."""
    held: int = 0
    """Events whose stamp is too far ahead."""
    void: int = 0
    """Events that count for nobody, because their stamp does not follow their device's previous one."""
    waiting: int = 0
    """Envelopes that wait for a predecessor."""
    dropped: int = 0
    """Envelopes not kept: their predecessor is missing, and too many wait already."""
    way: Way | None = None
    """How the events took their place, None if there were none."""

    def __add__(self, later: "Received") -> "Received":
        """Sum up two steps. Of their ways, the one that redoes more stands for both."""
        ways = [received.way for received in (self, later) if received.way is not None]
        return Received(
            self.envelopes + later.envelopes,
            self.applied + later.applied,
            self.replayed + later.replayed,
            self.held + later.held,
            self.void + later.void,
            self.waiting + later.waiting,
            self.dropped + later.dropped,
            max(ways, key=list(Way).index, default=None),
        )
