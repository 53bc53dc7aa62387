"""What events touch, and which later ones therefore depend on an earlier one.

A cell is anything a materializer can depend on: a row by its key, present or absent; a value of a UNIQUE constraint; a key
that foreign keys refer to, or refer by; or a whole table, where nothing finer can be proved. Two events conflict if one
of them writes a cell that the other reads or writes. Events that do not conflict may be applied in either order, so an
event that arrives late need only be followed by those that conflict with it, with those that conflict with these, and so on.

Pure. How cells are found is `_store/recording.py`'s matter; that they are never too few, the oracle's.
"""

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush
from typing import Any, Final, NamedTuple

from driftlog._core.clock import Timestamp

Cell = tuple[int] | tuple[int, Any]
"""A space of cells and a key within it; without a key, all of that space."""


class Touch(NamedTuple):
    """The cells an event reads, and those it writes. What is written counts as read."""

    reads: tuple[Cell, ...]
    writes: tuple[Cell, ...]


UNTOUCHED: Final = Touch((), ())

_Places = list[Timestamp]


class TouchIndex:
    """Which events touch a cell, for all events from `start` on. In memory: some 600 bytes an event."""

    def __init__(self, start: Timestamp) -> None:
        self.start = start
        self._touch_by_event: dict[Timestamp, Touch] = {}
        self._order: _Places = []
        self._readers: dict[Cell, _Places] = {}
        self._writers: dict[Cell, _Places] = {}
        # By space: whoever reads or writes any cell of it, for those who touch all of it.
        self._any_readers: dict[int, _Places] = {}
        self._any_writers: dict[int, _Places] = {}

    def __len__(self) -> int:
        return len(self._touch_by_event)

    def add(self, at: Timestamp, touch: Touch) -> None:
        """Add an event. One that touches nothing is not kept: nobody ever asks for it."""
        assert at not in self._touch_by_event
        reads, writes = touch
        if not reads and not writes:
            return
        self._touch_by_event[at] = touch
        _insert(self._order, at)
        for cell in reads:
            _put(self._readers, cell, at)
        for cell in writes:
            _put(self._writers, cell, at)
        for space in {cell[0] for cell in reads}:
            _put(self._any_readers, space, at)
        for space in {cell[0] for cell in writes}:
            _put(self._any_writers, space, at)

    def remove(self, at: Timestamp) -> None:
        """Take an event out."""
        reads, writes = self._touch_by_event.pop(at)
        del self._order[bisect_right(self._order, at) - 1]
        for cell in reads:
            _drop(self._readers, cell, at)
        for cell in writes:
            _drop(self._writers, cell, at)
        for space in {cell[0] for cell in reads}:
            _drop(self._any_readers, space, at)
        for space in {cell[0] for cell in writes}:
            _drop(self._any_writers, space, at)

    def __contains__(self, at: Timestamp) -> bool:
        return at in self._touch_by_event

    def count_after(self, at: Timestamp) -> int:
        """Count the events after a timestamp."""
        return len(self._order) - bisect_right(self._order, at)

    def conflicting(self, at: Timestamp, touch: Touch) -> set[Timestamp]:
        """Give the events after `at` that conflict with what is touched there."""
        found: set[Timestamp] = set()
        for cell in touch.reads:
            for places in self._against_reading(cell):
                found.update(_after(places, at))
        for cell in touch.writes:
            for places in self._against_writing(cell):
                found.update(_after(places, at))
        return found

    def closure(self, seeds: Iterable[Timestamp], count_max: int) -> set[Timestamp] | None:
        """Give events and all later ones that depend on them; None if these are more than `count_max`."""
        found = set(seeds)
        heap = list(found)
        heapify(heap)
        # In order, so that the first event to touch a cell finds all later ones, and nobody needs to look again.
        read: set[Cell] = set()
        written: set[Cell] = set()
        while heap:
            if len(found) > count_max:
                return None
            at = heappop(heap)
            for places in self._unseen(self._touch_by_event[at], read, written):
                for later in _after(places, at):
                    if later not in found:
                        found.add(later)
                        heappush(heap, later)
        return found

    def _unseen(self, touch: Touch, read: set[Cell], written: set[Cell]) -> Iterator[_Places]:
        for cell in touch.reads:
            if cell not in read and cell not in written:
                read.add(cell)
                yield from self._against_reading(cell)
        for cell in touch.writes:
            if cell not in written:
                written.add(cell)
                yield from self._against_writing(cell)

    def _against_reading(self, cell: Cell) -> Iterator[_Places]:
        if len(cell) == 1:
            yield self._any_writers.get(cell[0], [])
        else:
            yield self._writers.get(cell, [])
            yield self._writers.get(cell[:1], [])

    def _against_writing(self, cell: Cell) -> Iterator[_Places]:
        if len(cell) == 1:
            yield self._any_writers.get(cell[0], [])
            yield self._any_readers.get(cell[0], [])
        else:
            yield self._writers.get(cell, [])
            yield self._readers.get(cell, [])
            yield self._writers.get(cell[:1], [])
            yield self._readers.get(cell[:1], [])


def _put(places_by_key: dict[Any, _Places], key: object, at: Timestamp) -> None:
    places = places_by_key.get(key)
    if places is None:
        places_by_key[key] = [at]
    else:
        _insert(places, at)


def _insert(places: _Places, at: Timestamp) -> None:
    if not places or places[-1] < at:
        places.append(at)
    else:
        insort(places, at)


def _drop(places_by_key: dict[Any, _Places], key: object, at: Timestamp) -> None:
    places = places_by_key[key]
    if len(places) == 1:
        del places_by_key[key]
    else:
        del places[bisect_right(places, at) - 1]


def _after(places: _Places, at: Timestamp) -> _Places:
    if not places or places[-1] <= at:
        return []
    return places[bisect_right(places, at) :]
