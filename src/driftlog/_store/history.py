"""The history of a row: which events have changed it, as their undo data tells.

The undo data names every row that an event made, changed or took away, those reached by cascades and triggers included. No
index leads from a row to its events, because each append would pay for it and few ever ask: the log is searched.
"""

from collections.abc import Iterator

import msgspec

from driftlog._sqlite.keys import RowKey
from driftlog._store.log import Entry, Log
from driftlog._store.recording import UNREADABLE, damaged_undo, unpack_undo


def entries_of_row(log: Log, key: RowKey) -> Iterator[Entry]:
    """Give the entries that changed a row, in order. Reads the whole log. Raises `Corrupt`."""
    for entry in log.holding(_mark(key)):
        assert entry.undo is not None, "there it was found"
        if _names(entry.undo, key):
            yield entry


def _mark(key: RowKey) -> bytes:
    """Give bytes that the undo data holds if it names the row: the longest there are, to find the fewest others."""
    # An integer, a text and bytes have one form each in msgspec's encoding. Nothing at all is found everywhere.
    return max(map(msgspec.msgpack.encode, key.exact_values()), key=len, default=b"")


def _names(undo: bytes, key: RowKey) -> bool:
    table = key.table
    try:
        absent, present = unpack_undo(undo)
        if any(index == table.index and key.is_of(values) for index, *values in absent):
            return True
        return any(index == table.index and key.is_of([row[place] for place in table.key]) for index, *row in present)
    except UNREADABLE as error:
        raise damaged_undo(error) from error
