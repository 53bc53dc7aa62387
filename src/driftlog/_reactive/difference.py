"""How one answer differs from the next, by the keys of its rows: what a list on a screen must do to show the new one.

Removed rows are named by their old place, added and changed ones by their new, moved ones by both. Moved are as few as can
be: all kept rows but a longest run of them that stayed in order. Rows whose keys are equal are told apart by their order.
"""

from bisect import bisect_left
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final

from driftlog._sqlite.rows import Row

KeyOf = Callable[[Row], Hashable]


@dataclass(frozen=True, slots=True)
class Added:
    """A row that is new, and its place."""

    index: int
    row: Row


@dataclass(frozen=True, slots=True)
class Removed:
    """A row that is gone, and the place where it was."""

    index: int
    row: Row


@dataclass(frozen=True, slots=True)
class Changed:
    """A row with the key of one that was there and other values; `index` is its place now."""

    index: int
    before: Row
    row: Row


@dataclass(frozen=True, slots=True)
class Moved:
    """A row that stands elsewhere among the others; if its values changed, too, it is also among the changed."""

    before: int
    """Where it was."""
    index: int
    """Where it is."""
    row: Row


@dataclass(frozen=True, slots=True)
class Difference:
    """What leads from one answer to the next."""

    added: tuple[Added, ...] = ()
    removed: tuple[Removed, ...] = ()
    changed: tuple[Changed, ...] = ()
    moved: tuple[Moved, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.moved)

    def apply(self, rows: Sequence[Row]) -> list[Row]:
        """Give the next answer from the one before.

        Taken out first are removed and moved rows, by their old places, the last first. Then added and moved ones are put
        in at their new places, the first first. Then changed ones are written over.
        """
        after = list(rows)
        for index in sorted([*(one.index for one in self.removed), *(one.before for one in self.moved)], reverse=True):
            del after[index]
        put = [(one.index, one.row) for one in self.added] + [(one.index, one.row) for one in self.moved]
        for index, row in sorted(put, key=lambda pair: pair[0]):
            after.insert(index, row)
        for one in self.changed:
            after[one.index] = one.row
        return after


NO_DIFFERENCE: Final = Difference()


def difference(before: Sequence[Row], after: Sequence[Row], key_of: KeyOf | None) -> Difference:
    """Compare two answers; without a key, rows are the same if all of their values are, and a lone row is the same row."""
    if not before:
        return Difference(added=tuple(Added(index, row) for index, row in enumerate(after)))
    if not after:
        return Difference(removed=tuple(Removed(index, row) for index, row in enumerate(before)))
    if len(before) == len(after) == 1 and (key_of is None or key_of(before[0]) == key_of(after[0])):
        return Difference(changed=() if is_same(before[0], after[0]) else (Changed(0, before[0], after[0]),))
    start = _equal_at_start(before, after)
    end = _equal_at_end(before, after, start)
    old_keys = _keys(before[start : len(before) - end], key_of)
    new_keys = _keys(after[start : len(after) - end], key_of)
    old_place_by_key = {key: place for place, key in enumerate(old_keys, start)}
    new_places = set(new_keys)
    kept = [(old_place_by_key[key], place) for place, key in enumerate(new_keys, start) if key in old_place_by_key]
    staying = _longest_ascending([old for old, _ in kept])
    return Difference(
        added=tuple(
            Added(place, after[place]) for place, key in enumerate(new_keys, start) if key not in old_place_by_key
        ),
        removed=tuple(
            Removed(place, before[place]) for place, key in enumerate(old_keys, start) if key not in new_places
        ),
        changed=tuple(
            Changed(new, before[old], after[new]) for old, new in kept if not is_same(before[old], after[new])
        ),
        moved=tuple(Moved(old, new, after[new]) for old, new in kept if old not in staying),
    )


def is_same(one: Row, other: Row) -> bool:
    """Tell whether rows are identical: to Python 1 and 1.0 are equal, to whoever shows them they are not."""
    return one is other or (one == other and list(map(type, one)) == list(map(type, other)))


def _equal_at_start(before: Sequence[Row], after: Sequence[Row]) -> int:
    shorter = min(len(before), len(after))
    for place in range(shorter):
        if not is_same(before[place], after[place]):
            return place
    return shorter


def _equal_at_end(before: Sequence[Row], after: Sequence[Row], start: int) -> int:
    most = min(len(before), len(after)) - start
    for count in range(most):
        if not is_same(before[-1 - count], after[-1 - count]):
            return count
    return most


def _keys(rows: Sequence[Row], key_of: KeyOf | None) -> list[Hashable]:
    """Give each row's key, and the repeats of one a number."""
    keys: list[Hashable] = list(rows) if key_of is None else [key_of(row) for row in rows]
    if len(set(keys)) == len(keys):
        # The common form, so that keys of the two answers meet: the first of equal keys has the number 0.
        return [(key, 0) for key in keys]
    count_by_key: dict[Hashable, int] = {}
    numbered: list[Hashable] = []
    for key in keys:
        count = count_by_key.get(key, 0)
        count_by_key[key] = count + 1
        numbered.append((key, count))
    return numbered


def _longest_ascending(places: Sequence[int]) -> set[int]:
    """Give the members of a longest ascending subsequence (Fredman 1975)."""
    ends: list[int] = []
    end_places: list[int] = []
    previous: list[int] = []
    for at, place in enumerate(places):
        length = bisect_left(ends, place)
        previous.append(end_places[length - 1] if length else -1)
        if length == len(ends):
            ends.append(place)
            end_places.append(at)
        else:
            ends[length] = place
            end_places[length] = at
    found: set[int] = set()
    at = end_places[-1] if end_places else -1
    while at >= 0:
        found.add(places[at])
        at = previous[at]
    return found
