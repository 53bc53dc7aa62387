"""An answer kept up to date: from the old one and the rows that changed to the new one, or the word to ask again.

What is kept stands in strictly ascending order of its sort keys, so where a row belongs has one answer and it is SQLite's.
A tie, a window that lost a row, a row that is not where it should be: run the query again.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from functools import total_ordering
from itertools import pairwise
from operator import itemgetter
from typing import Any, Final

from driftlog._reactive.difference import Added, Changed, Difference, Moved, Removed, is_same
from driftlog._reactive.plan import Plan
from driftlog._sqlite.rows import Row

KEYS_MAX: Final = 32
"""Of rows that are looked up one by one; which of many rows moved is found in the square of their number."""

Key = tuple[Any, ...]


class Kept:
    """An answer's rows by their keys, and how they are kept."""

    __slots__ = ("_by_key", "_plan", "rows")

    def __init__(self, plan: Plan, rows: tuple[Row, ...], by_key: dict[Key, Row]) -> None:
        self._plan = plan
        self._by_key = by_key
        self.rows = rows

    def update(self, looked_up: Mapping[Key, Row | None]) -> Difference | None:
        """Bring the rows up to date with what was found under each key that may have changed; None if that cannot be told.

        After None this is of no more use.
        """
        before = self.rows
        old = {key: self._by_key[key] for key in looked_up if key in self._by_key}
        new = {key: row for key, row in looked_up.items() if row is not None}
        if self._is_full():
            # What comes after the window is not known, so neither is whether these come next.
            last = self._sort_key(before[-1])
            new = {key: row for key, row in new.items() if self._sort_key(row) <= last}
        for key in old.keys() & new.keys():
            if is_same(old[key], new[key]):
                del old[key], new[key]
        old_places = {key: self._find(before, row) for key, row in old.items()}
        if any(place == len(before) or before[place] is not old[key] for key, place in old_places.items()):
            return None
        rows = list(before)
        for place in sorted(old_places.values(), reverse=True):
            del rows[place]
        new_places = self._put(rows, new)
        if new_places is None or (self._is_full() and len(rows) < len(before)):
            return None
        self._trim(rows, old_places, new_places)
        for key in old_places:
            del self._by_key[key]
        self._by_key |= {key: rows[place] for key, place in new_places.items()}
        self.rows = tuple(rows)
        return _difference(before, self.rows, old_places, new_places)

    def _is_full(self) -> bool:
        return len(self.rows) == self._plan.limit

    def _put(self, rows: list[Row], new: Mapping[Key, Row]) -> dict[Key, int] | None:
        """Put rows where they belong, and give their places; None if there is a tie."""
        places: dict[Key, int] = {}
        # In ascending order, so that none is pushed on by a later one.
        for key, row in sorted(new.items(), key=lambda item: self._sort_key(item[1])):
            place = self._find(rows, row)
            if None in key or (place < len(rows) and self._sort_key(rows[place]) == self._sort_key(row)):
                return None
            rows.insert(place, row)
            places[key] = place
        return places

    def _trim(self, rows: list[Row], old_places: dict[Key, int], new_places: dict[Key, int]) -> None:
        """Take out what was pushed out of the window."""
        limit = self._plan.limit
        while limit is not None and len(rows) > limit:
            row = rows.pop()
            key = self._plan.key_of(row)
            if new_places.pop(key, None) is None:
                old_places[key] = self._find(self.rows, row)

    def _find(self, rows: Sequence[Row], row: Row) -> int:
        return bisect_left(rows, self._sort_key(row), key=self._sort_key)

    def _sort_key(self, row: Row) -> tuple[Any, ...]:
        return sort_key(self._plan, row)


def kept(plan: Plan, rows: tuple[Row, ...]) -> Kept | None:
    """Begin to keep an answer that was asked for; None if its rows do not tell where others belong among them."""
    if not all(one < other for one, other in pairwise(sort_key(plan, row) for row in rows)):
        return None
    by_key = {plan.key_of(row): row for row in rows}
    return None if len(by_key) < len(rows) or any(None in key for key in by_key) else Kept(plan, rows, by_key)


def sort_key(plan: Plan, row: Row) -> tuple[Any, ...]:
    """Give what compares as SQLite orders the rows: NULL before all values."""
    return tuple(
        [
            _Descending((row[place] is not None, row[place])) if is_descending else (row[place] is not None, row[place])
            for place, is_descending in plan.order
        ]
    )


@total_ordering
class _Descending:
    __slots__ = ("value",)

    def __init__(self, value: tuple[bool, Any]) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __lt__(self, other: "_Descending") -> bool:
        return other.value < self.value


def _difference(
    before: Sequence[Row], after: Sequence[Row], old_places: Mapping[Key, int], new_places: Mapping[Key, int]
) -> Difference:
    """Tell what the places of the changed rows say; all others kept their order."""
    added = [place for key, place in new_places.items() if key not in old_places]
    removed = [place for key, place in old_places.items() if key not in new_places]
    both = [(old_places[key], place) for key, place in new_places.items() if key in old_places]
    changed = [(old, new) for old, new in both if not is_same(before[old], after[new])]
    return Difference(
        added=tuple([Added(place, after[place]) for place in sorted(added)]),
        removed=tuple([Removed(place, before[place]) for place in sorted(removed)]),
        changed=tuple([Changed(new, before[old], after[new]) for old, new in sorted(changed, key=itemgetter(1))]),
        moved=tuple([Moved(old, new, after[new]) for old, new in _moved(len(after), old_places, new_places, both)]),
    )


def _moved(
    count: int, old_places: Mapping[Key, int], new_places: Mapping[Key, int], both: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Give the old and new places of as few rows as can have moved.

    Between the places of changed rows, old and new, the others stand in blocks that are whole in both answers. So the rows
    that stay are a heaviest ascending run of blocks and changed rows, as in a longest one of single rows.
    """
    if not both:
        return []
    # Of each changed row, how many unchanged ones come before it.
    old_ranks = [place - at for at, place in enumerate(sorted(old_places.values()))]
    new_ranks = [place - at for at, place in enumerate(sorted(new_places.values()))]
    cuts = sorted({0, *old_ranks, *new_ranks, count - len(new_places)})
    runs = [
        (rank + bisect_right(old_ranks, rank), rank + bisect_right(new_ranks, rank), end - rank)
        for rank, end in pairwise(cuts)
    ]
    runs += [(old, new, 1) for old, new in both]
    runs.sort(key=itemgetter(1))
    staying = _heaviest_ascending(runs)
    return [
        (old + at, new + at)
        for place, (old, new, length) in enumerate(runs)
        if place not in staying
        for at in range(length)
    ]


def _heaviest_ascending(runs: Sequence[tuple[int, int, int]]) -> set[int]:
    """Give which runs stay in order, by their old places, so that as many rows as can be are in them."""
    weights: list[int] = []
    previous: list[int] = []
    for at, (old, _, length) in enumerate(runs):
        best = max((place for place in range(at) if runs[place][0] < old), key=weights.__getitem__, default=-1)
        previous.append(best)
        weights.append(length + (weights[best] if best >= 0 else 0))
    found: set[int] = set()
    at = max(range(len(runs)), key=weights.__getitem__)
    while at >= 0:
        found.add(at)
        at = previous[at]
    return found
