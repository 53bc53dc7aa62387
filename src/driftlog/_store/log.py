"""The log as rows: each event in its place, what became of it, and the undo data of what it changed."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final, NamedTuple

import apsw

from driftlog._core.clock import Hlc, Timestamp
from driftlog._core.event import Record
from driftlog._core.ids import DeviceKey, EventHash
from driftlog._sqlite.rows import raw_rows


class State(StrEnum):
    """What became of an event in its place. Their order here gives the numbers in the file: add at the end only."""

    APPLIED = "applied"
    REJECTED = "rejected"
    """Its materializer refused it; judged again whenever an earlier event arrives."""
    HELD = "held"
    """Its stamp is more than a day ahead of this device's clock; applied when its time comes."""
    UNKNOWN = "unknown"
    """Its type or version is not one this app declares; applied in its place after the app is upgraded."""


STATES: Final = tuple(State)
_NUMBER_BY_STATE: Final = {state: number for number, state in enumerate(STATES)}


class Entry(NamedTuple):
    """One event in the log."""

    timestamp: Timestamp
    record: Record
    state: State
    reason: str | None
    undo: bytes | None


PAGE_ROWS: Final = 1_000
"""Rows read at a time, so that a statement is never open while the log is written."""

_COLUMNS = "hlc, device, hash, wall_ms, name, version, payload, state, reason, undo"
_INSERT = f"INSERT INTO driftlog_log ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_UPDATE = "UPDATE driftlog_log SET state = ?, reason = ?, undo = ? WHERE hlc = ? AND device = ? AND hash = ?"
_HAS = "SELECT 1 FROM driftlog_log WHERE hlc = ? AND device = ? AND hash = ?"
_HAS_ANY = "SELECT 1 FROM driftlog_log WHERE hlc BETWEEN ? AND ? AND device = ? LIMIT 1"
_FROM = f"SELECT {_COLUMNS} FROM driftlog_log WHERE (hlc, device, hash) >= (?, ?, ?) ORDER BY hlc, device, hash LIMIT ?"
_AFTER = f"SELECT {_COLUMNS} FROM driftlog_log WHERE (hlc, device, hash) > (?, ?, ?) ORDER BY hlc, device, hash LIMIT ?"
_UNDO_FROM = """
SELECT undo FROM driftlog_log WHERE (hlc, device, hash) >= (?, ?, ?) AND undo IS NOT NULL ORDER BY hlc, device, hash
"""
# The order's end is nearly always not held, so this reads one row.
_LAST_PLACED = (
    "SELECT hlc, device, hash FROM driftlog_log WHERE state <> 2 ORDER BY hlc DESC, device DESC, hash DESC LIMIT 1"
)
_FIRST_HELD = "SELECT min(hlc) FROM driftlog_log WHERE state = 2"
_HELD_UP_TO = f"SELECT {_COLUMNS} FROM driftlog_log WHERE state = 2 AND hlc <= ? ORDER BY hlc, device, hash"
_OWN_AFTER = """
SELECT hlc, wall_ms, name, version, payload FROM driftlog_log WHERE hlc > ? AND device = ? ORDER BY hlc LIMIT ?
"""
_COUNT = "SELECT count(*) FROM driftlog_log"
_COUNT_HELD = "SELECT device, count(*) FROM driftlog_log WHERE state = 2 GROUP BY device"
_LAST_OWN_AFTER = "SELECT max(hlc) FROM driftlog_log WHERE hlc > ? AND device = ?"
_COUNT_OWN_AFTER = "SELECT count(*) FROM driftlog_log WHERE hlc > ? AND device = ?"

BEFORE_ALL: Final = Timestamp(Hlc(-1), DeviceKey(b""), EventHash(b""))


class Log:
    """Reads and writes the rows of the log, within the caller's transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        # One cursor for every insert: making another costs half a microsecond an event.
        self._insert = connection.cursor().execute

    def insert(
        self, at: Timestamp, record: Record, state: State, reason: str | None = None, undo: bytes | None = None
    ) -> None:
        """Add an event that is not in the log yet."""
        _, wall_ms, name, version, payload = record
        self._insert(_INSERT, (*at, wall_ms, name, version, payload, _NUMBER_BY_STATE[state], reason, undo))

    def update(self, at: Timestamp, state: State, reason: str | None, undo: bytes | None) -> None:
        """Set what became of an event in the log."""
        self._connection.execute(_UPDATE, (_NUMBER_BY_STATE[state], reason, undo, *at))

    def holds(self, at: Timestamp) -> bool:
        """Tell whether the event is in the log."""
        return self._connection.execute(_HAS, at).get is not None

    def holds_any(self, device: DeviceKey, first: int, last: int) -> bool:
        """Tell whether any event of a device with a stamp from `first` to `last` is in the log."""
        return self._connection.execute(_HAS_ANY, (first, last, device)).get is not None

    def entries(self, start: Timestamp = BEFORE_ALL) -> Iterator[Entry]:
        """Give the entries from `start` on, in order. What is inserted before the entry last given is not seen."""
        page = self._page(_FROM, start)
        while page:
            yield from page
            page = self._page(_AFTER, page[-1].timestamp) if len(page) == PAGE_ROWS else []

    def page_after(self, place: Timestamp) -> list[Entry]:
        """Give the next entries after a timestamp, at most `PAGE_ROWS`; none at the end."""
        return self._page(_AFTER, place)

    def _page(self, sql: str, place: Timestamp) -> list[Entry]:
        return [_entry(row) for row in raw_rows(self._connection, sql, (*place, PAGE_ROWS))]

    def undos(self, start: Timestamp) -> Iterator[bytes]:
        """Give the undo data from `start` on, oldest first. The log must not be written meanwhile."""
        for (undo,) in raw_rows(self._connection, _UNDO_FROM, start):
            yield undo

    def last_placed(self) -> Timestamp | None:
        """Give the greatest timestamp that is not held."""
        row = next(raw_rows(self._connection, _LAST_PLACED), None)
        return Timestamp(*row) if row else None

    def first_held(self) -> int | None:
        """Give the least held stamp."""
        first: int | None = self._connection.execute(_FIRST_HELD).get
        return first

    def held_up_to(self, hlc: int) -> list[Entry]:
        """Give the held entries with stamps up to `hlc`."""
        return [_entry(row) for row in raw_rows(self._connection, _HELD_UP_TO, (hlc,))]

    def own_after(self, device: DeviceKey, hlc: int, count: int) -> list[Record]:
        """Give the first `count` events of a device after a stamp."""
        return [Record(Hlc(row[0]), *row[1:]) for row in raw_rows(self._connection, _OWN_AFTER, (hlc, device, count))]

    def last_own_after(self, device: DeviceKey, hlc: int) -> int | None:
        """Give the greatest stamp of a device after a stamp."""
        last: int | None = self._connection.execute(_LAST_OWN_AFTER, (hlc, device)).get
        return last

    def count(self) -> int:
        """Count all events."""
        count: int = self._connection.execute(_COUNT).get
        return count

    def count_held_by_device(self) -> dict[DeviceKey, int]:
        """Count the held events of each device that has any."""
        return {DeviceKey(device): count for device, count in raw_rows(self._connection, _COUNT_HELD)}

    def count_own_after(self, device: DeviceKey, hlc: int) -> int:
        """Count the events of a device after a stamp."""
        count: int = self._connection.execute(_COUNT_OWN_AFTER, (hlc, device)).get
        return count


def _entry(row: tuple[Any, ...]) -> Entry:
    hlc, device, event_hash, wall_ms, name, version, payload, state, reason, undo = row
    record = Record(hlc, wall_ms, name, version, payload)
    return Entry(Timestamp(hlc, device, event_hash), record, STATES[state], reason, undo)
