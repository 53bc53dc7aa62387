"""What rejected events lost against: who last wrote what they came across.

The log keeps, with a rejected event, the cells that its materializer came across until it was stopped. Of each cell that has
a key, the latest earlier writer is named. A cell that is a whole table names nobody, because nearly every event would be it.
No index leads from a cell to its writers (each append would pay for it), so the log is read backwards.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from driftlog._core.clock import Timestamp
from driftlog._core.touch import Cell
from driftlog._store.log import Entry, Log
from driftlog._store.recording import Rows

LOOK_BACK_EVENTS_MAX: Final = 100_000
"""How many events that changed the view are looked at for each rejected one: some 0.2 s. A row that was looked for in vain
has no writer at all, and would be searched for to the beginning of the log."""


def lost_to(log: Log, rows: Rows, rejected: Sequence[Entry]) -> dict[Timestamp, tuple[Timestamp, ...]]:
    """Give, for each of the rejected events, which are in order, the events it lost against, in order.

    Searches that overlap are one, so the whole costs at most one reading of the log.
    """
    found: dict[Timestamp, set[Timestamp]] = {entry.timestamp: set() for entry in rejected}
    due = list(rejected)
    while due:
        search = _Search(rows)
        for passed, (at, undo, touch) in enumerate(log.writers_before(due[-1].timestamp)):
            while due and due[-1].timestamp > at:
                search.begin(due.pop(), passed)
            search.give_up(passed)
            if not search.wanted:
                break
            for cell in rows.touch(undo, touch).writes:
                for event in search.wanted.pop(cell, ()):
                    found[event].add(at)
        else:
            # The log's beginning: before those that are still due, nothing was written.
            break
    return {event: tuple(sorted(writers)) for event, writers in found.items()}


class _Search:
    """The cells that are looked for, and for which events, on one walk backwards."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.wanted: dict[Cell, set[Timestamp]] = {}
        self._ends: deque[tuple[int, Timestamp, list[Cell]]] = deque()

    def begin(self, entry: Entry, passed: int) -> None:
        """Look for what a rejected event came across, from here on; `passed` events have been looked at."""
        cells: list[Cell] = [cell for cell in self._rows.touch(None, entry.touch).reads if len(cell) > 1]
        for cell in cells:
            self.wanted.setdefault(cell, set()).add(entry.timestamp)
        self._ends.append((passed + LOOK_BACK_EVENTS_MAX, entry.timestamp, cells))

    def give_up(self, passed: int) -> None:
        """Look no further for those that have had their share."""
        while self._ends and self._ends[0][0] <= passed:
            _, event, cells = self._ends.popleft()
            for cell in cells:
                waiting = self.wanted.get(cell)
                if waiting is not None:
                    waiting.discard(event)
                    if not waiting:
                        del self.wanted[cell]
