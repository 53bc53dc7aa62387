"""A long catch-up in bounded steps, so that an append, which waits for the step at hand, never waits long.

Pure. A step is a transaction, and after it the file is whole: what it holds is a device's state that has heard so much and
no more. Envelopes of all devices are taken in the order of time, so that most steps extend the log; each device's own in the
order of its chain, because one whose predecessor is missing would have to be kept waiting.

What this does not bound is one rebase: where a single late event has a hundred thousand later ones undone, that is one step.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from typing import Final

from driftlog._core.batch import Batch
from driftlog._core.envelope import Envelope
from driftlog._core.ids import DeviceKey

Opened = tuple[Envelope, Batch]

Sealed = tuple[Envelope, Callable[[], Batch | None]]
"""An envelope, and what opens it; None if it is refused after all."""

STEP_EVENTS: Final = 500
"""About 10 ms of work where it extends the log, 20 where it is woven in; a single envelope may hold twice as many."""

STEP_GROWTH: Final = 4
"""Where a step replays more than it brings, most of what it costs is the same for a longer one: the next may hold so many
times as much, so that a merge with long pending work takes a few rebases instead of one for every 500 events."""


class Steps:
    """What is still to be taken in. Each envelope is opened once, shortly before its step."""

    def __init__(self, sealed: Iterable[Sealed]) -> None:
        self._rest = _in_order_of_time(sealed)
        self._next = next(self._rest, None)
        self._events_max = STEP_EVENTS

    def __bool__(self) -> bool:
        return self._next is not None

    def next(self) -> Sequence[Opened]:
        """Give the envelopes of the next step: at least one, while there are any."""
        step: list[Opened] = []
        events = 0
        while self._next is not None:
            events += len(self._next[1].records)
            if step and events > self._events_max:
                break
            step.append(self._next)
            self._next = next(self._rest, None)
        return step

    def note(self, applied: int, replayed: int) -> None:
        """Take note of what the last step cost: events applied for the first time, and events replayed."""
        self._events_max = self._events_max * STEP_GROWTH if replayed > applied else STEP_EVENTS


def _in_order_of_time(sealed: Iterable[Sealed]) -> Iterator[Opened]:
    chains: dict[DeviceKey, list[Sealed]] = {}
    for one in sorted(sealed, key=lambda one: one[0].header.batch_seq):
        chains.setdefault(one[0].header.device, []).append(one)
    # `merge` never takes a list's second before its first, wherever a bad clock has put them.
    return merge(*map(_opened, chains.values()), key=_first_hlc)


def _opened(chain: Iterable[Sealed]) -> Iterator[Opened]:
    for envelope, unseal in chain:
        batch = unseal()
        if batch is not None:
            yield envelope, batch


def _first_hlc(opened: Opened) -> int:
    return opened[1].records[0].hlc
