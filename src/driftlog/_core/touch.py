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
from driftlog._core.places import Places

Cell = tuple[int] | tuple[int, Any]
"""A space of cells and a key within it; without a key, all of that space."""


class Touch(NamedTuple):
    """The cells an event reads, and those it writes. What is written counts as read."""

    reads: tuple[Cell, ...]
    writes: tuple[Cell, ...]


UNTOUCHED: Final = Touch((), ())

_Places = list[Timestamp]
"""Those who touch one cell: nearly always one, and few enough for a list."""

_NOBODY: Final = Places()
_NONE: Final[_Places] = []


class TouchIndex:
    """Which events touch a cell, for all events from `start` on. In memory: some 600 bytes an event."""

    def __init__(self, start: Timestamp) -> None:
        self.start = start
        self._touch_by_event: dict[Timestamp, Touch] = {}
        self._order = Places()
        self._readers: dict[Cell, _Places] = {}
        self._writers: dict[Cell, _Places] = {}
        # By space: whoever reads or writes any cell of it, for those who touch all of it.
        self._any_readers: dict[int, Places] = {}
        self._any_writers: dict[int, Places] = {}

    def __len__(self) -> int:
        return len(self._touch_by_event)

    def add(self, at: Timestamp, touch: Touch) -> None:
        """Add an event. One that touches nothing is not kept: nobody ever asks for it."""
        assert at not in self._touch_by_event
        reads, writes = touch
        if not reads and not writes:
            return
        self._touch_by_event[at] = touch
        self._order.add(at)
        for cell in reads:
            _put(self._readers, cell, at)
        for cell in writes:
            _put(self._writers, cell, at)
        for space in _spaces(reads):
            self._any_readers.setdefault(space, Places()).add(at)
        for space in _spaces(writes):
            self._any_writers.setdefault(space, Places()).add(at)

    def remove(self, at: Timestamp) -> None:
        """Take an event out."""
        reads, writes = self._touch_by_event.pop(at)
        self._order.remove(at)
        for cell in reads:
            _drop(self._readers, cell, at)
        for cell in writes:
            _drop(self._writers, cell, at)
        for space in _spaces(reads):
            self._any_readers[space].remove(at)
        for space in _spaces(writes):
            self._any_writers[space].remove(at)

    def __contains__(self, at: Timestamp) -> bool:
        return at in self._touch_by_event

    def count_after(self, at: Timestamp) -> int:
        """Count the events after a timestamp."""
        return self._order.count_after(at)

    def conflicting(self, at: Timestamp, touch: Touch) -> set[Timestamp]:
        """Give the events after `at` that conflict with what is touched there."""
        found: set[Timestamp] = set()
        for cell in touch.reads:
            found.update(*self._against_reading(cell, at))
        for cell in touch.writes:
            found.update(*self._against_writing(cell, at))
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
            for places in self._unseen(at, read, written):
                for later in places:
                    if later not in found:
                        found.add(later)
                        heappush(heap, later)
        return found

    def _unseen(self, at: Timestamp, read: set[Cell], written: set[Cell]) -> Iterator[_Places]:
        touch = self._touch_by_event[at]
        for cell in touch.reads:
            if cell not in read and cell not in written:
                read.add(cell)
                yield from self._against_reading(cell, at)
        for cell in touch.writes:
            if cell not in written:
                written.add(cell)
                yield from self._against_writing(cell, at)

    def _against_reading(self, cell: Cell, at: Timestamp) -> tuple[_Places, ...]:
        """Give those after `at` with whom it conflicts to read a cell there."""
        if len(cell) == 1:
            return (self._any_writers.get(cell[0], _NOBODY).after(at),)
        writers = self._writers
        return _after(writers.get(cell), at), _after(writers.get(cell[:1]), at)

    def _against_writing(self, cell: Cell, at: Timestamp) -> tuple[_Places, ...]:
        if len(cell) == 1:
            return (
                self._any_writers.get(cell[0], _NOBODY).after(at),
                self._any_readers.get(cell[0], _NOBODY).after(at),
            )
        writers, readers, whole = self._writers, self._readers, cell[:1]
        return (
            _after(writers.get(cell), at),
            _after(readers.get(cell), at),
            _after(writers.get(whole), at),
            _after(readers.get(whole), at),
        )


def _spaces(cells: tuple[Cell, ...]) -> Iterable[int]:
    """Give each space that cells are of, once."""
    return (cells[0][0],) if len(cells) == 1 else {cell[0] for cell in cells}


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


def _after(places: _Places | None, at: Timestamp) -> _Places:
    if not places or places[-1] <= at:
        return _NONE
    return places[bisect_right(places, at) :]
