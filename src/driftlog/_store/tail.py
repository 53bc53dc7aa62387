"""The touch index of the log's end: built when a first late event asks for it, kept up to date, and forgotten in doubt.

It is memory about what is in the file. Whatever undoes a transaction, or comes from another process, makes it doubtful; then
it is forgotten, and built anew from the log when it is next asked for. Own new events are entered at once, so that a late
one does not pay for them. What is received or replayed in a run is noted, and entered when the next late event asks: that
may never come, and what is replayed twice is entered once.
"""

from collections.abc import Iterable
from typing import Final

from driftlog._core.places import Place
from driftlog._core.touch import TouchIndex
from driftlog._store.log import Log, Touching
from driftlog._store.view import View

TAIL_EVENTS_MAX: Final = 200_000
"""Bounds the index at some 120 MB. Events further back are rewound to, which costs no memory."""

WAITING_MAX: Final = 4_000
"""Events that wait to be entered: some 20 ms of work at once (`bench late`), for who asks next or is one too many."""

WAITING_BYTES_MAX: Final = 4 << 20
"""What waits holds whole rows, of which the index will keep the keys. They may be large."""


class Tail:
    """Keeps the index, within the caller's transactions."""

    def __init__(self, log: Log, view: View) -> None:
        self._log = log
        self._view = view
        self._index: TouchIndex | None = None
        self._waiting: dict[Place, Touching] = {}
        """What the index does not hold yet, or holds as it was before a replay."""
        self._waiting_bytes = 0
        self._is_changed = False

    def covering(self, start: Place) -> TouchIndex | None:
        """Give the index of all events from `start` on; None if there are too many."""
        self._is_changed = True
        index = self._index
        if index is None:
            # Whoever let go of the last one may have been interrupted.
            self._clear_waiting()
            index = self._index = TouchIndex(start)
            entries = self._log.touches(start)
        else:
            self._enter(index)
            if start >= index.start:
                return index
            entries = self._log.touches(start, index.start)
            index.start = start
        for at, undo, touch in entries:
            index.add(at, self._view.touch(undo, touch))
            if len(index) > TAIL_EVENTS_MAX:
                self.forget()
                return None
        return index

    def add(self, appended: Iterable[Touching]) -> None:
        """Enter new events at the log's end."""
        index = self._index
        if index is None:
            return
        self._is_changed = True
        for at, undo, touch in appended:
            if at >= index.start:
                index.add(at, self._view.touch(undo, touch))
        self._bound(index)

    def note(self, replayed: Iterable[Touching]) -> None:
        """Take note of events that were received at the log's end, or replayed.

        Of those replayed, only the ones whose data is another than before need be told.
        """
        index = self._index
        if index is None:
            return
        self._is_changed = True
        for touching in replayed:
            at, undo, touch = touching
            if at >= index.start:
                self._waiting[at] = touching
                self._waiting_bytes += len(undo or b"") + len(touch or b"")
        if len(self._waiting) > WAITING_MAX or self._waiting_bytes > WAITING_BYTES_MAX:
            self._enter(index)
            self._bound(index)

    def _bound(self, index: TouchIndex) -> None:
        if len(index) > TAIL_EVENTS_MAX:
            # A next late event asks again, and is seldom as far back as the one that this was built for.
            self.forget()

    def _enter(self, index: TouchIndex) -> None:
        for at, undo, touch in self._waiting.values():
            index.put(at, self._view.touch(undo, touch))
        self._clear_waiting()

    def _clear_waiting(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0

    def forget(self) -> None:
        """Let go of the index."""
        self._index = None
        self._clear_waiting()
        self._is_changed = False

    def commit(self) -> None:
        """Take note that what was changed in the log stays."""
        self._is_changed = False

    def roll_back(self) -> None:
        """Take note that the log is as it was when the transaction began."""
        if self._is_changed:
            self.forget()
