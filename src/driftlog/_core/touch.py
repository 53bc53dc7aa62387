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

from driftlog._core.places import Place, Places

Cell = tuple[int] | tuple[int, Any]
"""A space of cells and a key within it; without a key, all of that space."""


_Cells = tuple[Cell, ...]


class Touch(NamedTuple):
    """The cells an event reads, and those it writes. What is written counts as read."""

    reads: _Cells
    writes: _Cells


UNTOUCHED: Final = Touch((), ())

_Places = tuple[Place, ...] | list[Place]
"""Those who touch one cell: nearly always one, and few enough for a list."""


class TouchIndex:
    """Which events touch a cell, for all events from `start` on. In memory: some 600 bytes an event, in plain tuples only.

    Orders of many events, of all or of those who touch one space, are made when they are first asked for: most apps never
    read a whole table, and then every event is spared its place in them.
    """

    def __init__(self, start: Place) -> None:
        self.start = start
        self._touch_by_event: dict[Place, tuple[_Cells, _Cells]] = {}
        self._readers: dict[Cell, _Places] = {}
        self._writers: dict[Cell, _Places] = {}
        self._order: Places | None = None
        # By space: whoever reads or writes any cell of it, for those who touch all of it.
        self._any_readers: dict[int, Places] = {}
        self._any_writers: dict[int, Places] = {}

    def __len__(self) -> int:
        return len(self._touch_by_event)

    def add(self, at: Place, touch: Touch) -> None:
        """Add an event. One that touches nothing is not kept: nobody ever asks for it."""
        assert type(at) is tuple, "of a named one, Python's collector takes notice"
        assert at not in self._touch_by_event
        reads, writes = touch
        if not reads and not writes:
            return
        self._touch_by_event[at] = (reads, writes)
        for cells, places_by_cell in ((reads, self._readers), (writes, self._writers)):
            for cell in cells:
                places = places_by_cell.get(cell)
                if places is None:
                    places_by_cell[cell] = (at,)
                elif isinstance(places, tuple):
                    places_by_cell[cell] = sorted((*places, at))
                elif places[-1] < at:
                    places.append(at)
                else:
                    insort(places, at)
        if self._order is not None:
            self._order.add(at)
        if self._any_readers or self._any_writers:
            for order in self._orders_of_spaces(reads, writes):
                order.add(at)

    def put(self, at: Place, touch: Touch) -> None:
        """Say what an event touches, which may be in already and have touched something else."""
        before = self._touch_by_event.get(at)
        if before is not None:
            if before == touch:
                return
            self.remove(at)
        self.add(at, touch)

    def remove(self, at: Place) -> None:
        """Take an event out."""
        reads, writes = self._touch_by_event.pop(at)
        for cells, places_by_cell in ((reads, self._readers), (writes, self._writers)):
            for cell in cells:
                places = places_by_cell[cell]
                if isinstance(places, tuple) or len(places) == 1:
                    del places_by_cell[cell]
                else:
                    del places[bisect_right(places, at) - 1]
        if self._order is not None:
            self._order.remove(at)
        for order in self._orders_of_spaces(reads, writes):
            order.remove(at)

    def _orders_of_spaces(self, reads: _Cells, writes: _Cells) -> list[Places]:
        """Give the orders of one space in which an event has its place, of those that were asked for."""
        orders: list[Places] = []
        for cells, order_by_space in ((reads, self._any_readers), (writes, self._any_writers)):
            if order_by_space:
                orders += [order_by_space[space] for space in {cell[0] for cell in cells} if space in order_by_space]
        return orders

    def _any(self, space: int, *, is_writing: bool) -> Places:
        order_by_space = self._any_writers if is_writing else self._any_readers
        order = order_by_space.get(space)
        if order is None:
            order = order_by_space[space] = Places(
                at
                for at, (reads, writes) in self._touch_by_event.items()
                if any(cell[0] == space for cell in (writes if is_writing else reads))
            )
        return order

    def __contains__(self, at: Place) -> bool:
        return at in self._touch_by_event

    def count_after(self, at: Place) -> int:
        """Count the events after a timestamp. The first call makes an order of all, which is kept from then on."""
        if self._order is None:
            self._order = Places(self._touch_by_event)
        return self._order.count_after(at)

    def conflicting(self, at: Place, touch: Touch) -> set[Place]:
        """Give the events after `at` that conflict with what is touched there."""
        found: set[Place] = set()
        for cell in touch.reads:
            for places in self._against_reading(cell, at):
                found.update(places)
        for cell in touch.writes:
            for places in self._against_writing(cell, at):
                found.update(places)
        return found

    def closure(self, seeds: Iterable[Place], count_max: int) -> set[Place] | None:
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

    def _unseen(self, at: Place, read: set[Cell], written: set[Cell]) -> Iterator[_Places]:
        reads, writes = self._touch_by_event[at]
        for cell in reads:
            if cell not in read and cell not in written:
                read.add(cell)
                yield from self._against_reading(cell, at)
        for cell in writes:
            if cell not in written:
                written.add(cell)
                yield from self._against_writing(cell, at)

    def _against_reading(self, cell: Cell, at: Place) -> list[_Places]:
        """Give those after `at` with whom it conflicts to read a cell there."""
        if len(cell) == 1:
            return [self._any(cell[0], is_writing=True).after(at)]
        return _after(at, self._writers.get(cell), self._writers.get(cell[:1]))

    def _against_writing(self, cell: Cell, at: Place) -> list[_Places]:
        if len(cell) == 1:
            return [self._any(cell[0], is_writing=is_writing).after(at) for is_writing in (True, False)]
        writers, readers, whole = self._writers, self._readers, cell[:1]
        return _after(at, writers.get(cell), readers.get(cell), writers.get(whole), readers.get(whole))


def _after(at: Place, *found: _Places | None) -> list[_Places]:
    """Give what each holds after a timestamp, without those that hold nothing."""
    return [places[bisect_right(places, at) :] for places in found if places is not None and places[-1] > at]
