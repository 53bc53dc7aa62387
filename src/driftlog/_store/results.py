"""What became of the events of one rebase: collected while they are applied, and written down in few statements.

A statement for each event costs more than what it writes, and between two events the view need not be let go of.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from driftlog._core.clock import Timestamp
from driftlog._core.event import Record
from driftlog._store.log import (
    APPLIED,
    PAGE_ROWS,
    STATE,
    STATES,
    TOUCH,
    UNDO,
    Entry,
    Log,
    Outcome,
    Row,
    State,
    Touching,
    entry_of,
)


class Verdict(NamedTuple):
    """An event whose state is another than before."""

    entry: Entry
    before: State | None
    """None for an event that is new."""


class Results:
    """What became of events so far."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._inserted: list[Row] = []
        self._updated: list[tuple[Any, ...]] = []
        self.applied = 0
        self.verdicts: list[Verdict] = []

    def add(self, row: Row, outcome: Outcome) -> None:
        """Note what became of an event; `row` is as it lies in the log, without an outcome if it does not yet."""
        self.applied += 1
        before = row[STATE]
        if before is None:
            self._inserted.append(row[:STATE] + outcome)
        elif row[STATE:] != outcome:
            self._updated.append(outcome + row[:3])
        if outcome[0] != (APPLIED if before is None else before):
            self.verdicts.append(Verdict(entry_of(row[:STATE] + outcome), None if before is None else STATES[before]))

    def touches(self) -> Iterator[Touching]:
        """Give what was touched by events that are new, or whose outcome is another, and that are not written down yet."""
        for row in self._inserted:
            yield row[:3], row[UNDO], row[TOUCH]
        for outcome in self._updated:
            yield outcome[4:], outcome[2], outcome[3]

    def write_down(self) -> None:
        """Write what was noted since the last time."""
        if self._inserted:
            self._log.insert_all(self._inserted)
            self._inserted = []
        if self._updated:
            self._log.update_all(self._updated)
            self._updated = []


def place_of(row: Row) -> Timestamp:
    """Give the place of an event."""
    return _named(Timestamp, row[:3])


def place_and_record(row: Row) -> tuple[Timestamp, Record]:
    """Give an event as a judge takes it."""
    return _named(Timestamp, row[:3]), _named(Record, row[:1] + row[3:STATE])


# A named tuple's own call takes its fields apart and puts them together again, in Python.
_named: Final = tuple.__new__


def pages_with(pages: Iterable[list[Row]], arrived: list[Row]) -> Iterator[list[Row]]:
    """Merge pages of the log with rows that join it, both in order, into pages in order."""
    begin = 0
    for page in pages:
        end = bisect_left(arrived, page[-1], begin)
        yield sorted(page + arrived[begin:end]) if begin < end else page
        begin = end
    for first in range(begin, len(arrived), PAGE_ROWS):
        yield arrived[first : first + PAGE_ROWS]
