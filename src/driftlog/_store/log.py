"""The log as rows: each event in its place, what became of it, and the undo data of what it changed."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

import apsw

from driftlog._core.clock import Hlc, Timestamp
from driftlog._core.event import Record
from driftlog._core.ids import HASH_BYTES, KEY_BYTES, DeviceKey, EventHash
from driftlog._core.limits import HLC_MAX
from driftlog._core.places import Place
from driftlog._core.statement import NEUTRAL_NAMES
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
    RETRACTED = "retracted"
    """It was undone, so the view is as if it had not been."""


STATES: Final = tuple(State)
_NUMBER_BY_STATE: Final = {state: number for number, state in enumerate(STATES)}
APPLIED, REJECTED, HELD, UNKNOWN, RETRACTED = range(len(STATES))
"""The states' numbers in the file."""

Outcome = tuple[int, str | None, bytes | None, bytes | None]
"""What became of an event, as its row holds it: the state's number, reason, undo and touch data."""

Row = tuple[Any, ...]
"""A row as it lies in the log: place (3 columns), wall time, name, version, payload (4), outcome (4). `Any`, because it is
SQLite's answer, and is taken apart by whoever replays a hundred thousand of them."""

Touching = tuple[Place, bytes | None, bytes | None]
"""What an event touched: its place, undo and touch data."""

STATE: Final = 7
UNDO: Final = 9
TOUCH: Final = 10
"""Places in a row: where the outcome begins, its undo and its touch data."""


class Entry(NamedTuple):
    """One event in the log."""

    timestamp: Timestamp
    record: Record
    state: State
    reason: str | None
    undo: bytes | None
    """The rows it changed, as they were."""
    touch: bytes | None
    """The cells it touched besides."""


PAGE_ROWS: Final = 1_000
"""Rows read at a time, so that a statement is never open while the log is written."""

_COLUMNS: Final = "hlc, device, hash, wall_ms, name, version, payload, state, reason, undo, touch"
_PLACE: Final = "hlc = ? AND device = ? AND hash = ?"
_NEUTRAL: Final = ", ".join(f"'{name}'" for name in NEUTRAL_NAMES)


def _inserting(table: str) -> str:
    return f"INSERT INTO {table} ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def _both(columns: str, condition: str) -> str:
    tables = ("driftlog_log", "driftlog_tie")
    return " UNION ALL ".join(f"SELECT {columns} FROM {table} WHERE {condition}" for table in tables)


def _ordered(columns: str, condition: str) -> str:
    """Read both tables as one in the total order: each is in order by its key, and SQLite merges them row by row."""
    return f"{_both(columns, condition)} ORDER BY hlc, device, hash"


_INSERT = _inserting("driftlog_log")
_INSERT_TIE = _inserting("driftlog_tie")
_UPDATE = f"UPDATE driftlog_log SET state = ?, reason = ?, undo = ?, touch = ? WHERE {_PLACE}"
_UPDATE_TIE = f"UPDATE driftlog_tie SET state = ?, reason = ?, undo = ?, touch = ? WHERE {_PLACE}"
_ENTRY = f"SELECT {_COLUMNS} FROM driftlog_entry WHERE {_PLACE}"
_UNTIED = f"SELECT {_COLUMNS} FROM driftlog_log WHERE {_PLACE}"
_HAS_TIES = "SELECT EXISTS (SELECT 1 FROM driftlog_tie)"
_HAS = f"SELECT 1 FROM driftlog_entry WHERE {_PLACE}"
_HAS_ANY = "SELECT 1 FROM driftlog_entry WHERE hlc BETWEEN ? AND ? AND device = ? LIMIT 1"
_FROM = f"{_ordered(_COLUMNS, '(hlc, device, hash) >= (?1, ?2, ?3)')} LIMIT ?4"
_AFTER = f"{_ordered(_COLUMNS, '(hlc, device, hash) > (?1, ?2, ?3)')} LIMIT ?4"
# Without ties, which are rare, one table is all of it, and twice as fast to read.
_FROM_UNTIED = f"SELECT {_COLUMNS} FROM driftlog_log WHERE (hlc, device, hash) >= (?1, ?2, ?3) ORDER BY hlc LIMIT ?4"
_AFTER_UNTIED = f"SELECT {_COLUMNS} FROM driftlog_log WHERE (hlc, device, hash) > (?1, ?2, ?3) ORDER BY hlc LIMIT ?4"
_UNDO_FROM = _ordered("undo, hlc, device, hash", "(hlc, device, hash) >= (?1, ?2, ?3) AND undo IS NOT NULL")
# The condition on the name is what the partial indexes say of themselves.
_CONTROLS = _both(
    "hlc, device, hash, wall_ms, name, version, payload",
    f"name >= 'driftlog.' AND name < 'driftlog/' AND state = 0 AND name NOT IN ({_NEUTRAL})",
)
_TOUCHES = _ordered(
    "hlc, device, hash, undo, touch",
    "(hlc, device, hash) >= (?1, ?2, ?3) AND (hlc, device, hash) < (?4, ?5, ?6) AND state <> 2",
)
_WRITERS_BEFORE = f"""
{_both("hlc, device, hash, undo, touch", "(hlc, device, hash) < (?1, ?2, ?3) AND undo IS NOT NULL")}
ORDER BY hlc DESC, device DESC, hash DESC
"""
_REJECTED = _ordered(_COLUMNS, "state <> 0 AND state = 1")
_UNDO_HOLDING = _ordered(_COLUMNS, "undo IS NOT NULL AND instr(undo, ?1)")
# The order's end is nearly always not held, so this reads one row of each.
_LAST_PLACED = f"{_both('hlc, device, hash', 'state <> 2')} ORDER BY hlc DESC, device DESC, hash DESC LIMIT 1"
_LAST_PLACED_UP_TO = f"""
{_both("hlc, device, hash", "hlc <= ?1 AND state <> 2")} ORDER BY hlc DESC, device DESC, hash DESC LIMIT 1
"""
# The first half is what the partial indexes say of themselves: SQLite does not conclude it from the second.
_IS_HELD: Final = "state <> 0 AND state = 2"
# Of each table by itself: asked of the view that joins them, SQLite reads all of the log and leaves the indexes alone.
_FIRST_HELD = f"SELECT min(hlc) FROM ({_both('+hlc AS hlc', _IS_HELD)})"
_FIRST_HELD_ENTRY = f"{_both('hlc, device, hash', _IS_HELD)} ORDER BY hlc, device, hash LIMIT 1"
_HELD_UP_TO = _ordered(_COLUMNS, f"{_IS_HELD} AND hlc <= ?1")
_OWN_AFTER = """
SELECT hlc, wall_ms, name, version, payload FROM driftlog_entry WHERE hlc > ? AND device = ? ORDER BY hlc LIMIT ?
"""
# Passes over the others' answers and statements at the order's end, which are few: at most two for all that was said.
_LAST_TELLING = f"""
{_both("device, hlc, hash", f"state <> 2 AND (device = ?1 OR name NOT IN ({_NEUTRAL}))")}
ORDER BY hlc DESC, device DESC, hash DESC LIMIT 1
"""
_COUNT_FROM = "SELECT count(*) FROM driftlog_entry WHERE (hlc, device, hash) >= (?, ?, ?)"
_COUNT_BEFORE = """
SELECT count(*) FROM (SELECT 1 FROM driftlog_entry WHERE (hlc, device, hash) < (?, ?, ?) LIMIT ?)
"""
_COUNT = "SELECT (SELECT count(*) FROM driftlog_log) + (SELECT count(*) FROM driftlog_tie)"
_COUNT_HELD = f"SELECT device, count(*) FROM ({_both('device', _IS_HELD)}) GROUP BY device"
# From the end: `max` would read every event after the stamp. Only a device that has made none of them reads all.
_LAST_OWN_AFTER = f"{_both('hlc', 'hlc > ?1 AND device = ?2')} ORDER BY hlc DESC LIMIT 1"
_COUNT_OWN_AFTER = "SELECT count(*) FROM driftlog_entry WHERE hlc > ? AND device = ?"

BEFORE_ALL: Final = Timestamp(Hlc(-1), DeviceKey(b""), EventHash(b""))
AFTER_ALL: Final = Timestamp(Hlc(HLC_MAX), DeviceKey(b"\xff" * KEY_BYTES), EventHash(b"\xff" * (HASH_BYTES + 1)))


class Log:
    """Reads and writes the rows of the log, within the caller's transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        # One cursor for every row written: making another costs half a microsecond an event.
        cursor = connection.cursor()
        self._insert = self._control = cursor.execute
        self._insert_all = self._update_all = cursor.executemany

    def insert(
        self,
        at: Timestamp,
        record: Record,
        state: State,
        reason: str | None = None,
        undo: bytes | None = None,
        touch: bytes | None = None,
    ) -> None:
        """Add an event that is not in the log yet."""
        self._insert_row((*at, *record[1:], _NUMBER_BY_STATE[state], reason, undo, touch))

    def insert_all(self, rows: Sequence[Row]) -> None:
        """Add events that are not in the log yet."""
        if len(rows) > 1:
            self._control("SAVEPOINT driftlog_rows")
            try:
                self._insert_all(_INSERT, rows)
            except apsw.ConstraintError:
                # Two events have one stamp. Which, is found out one by one.
                self._control("ROLLBACK TO driftlog_rows")
            else:
                self._control("RELEASE driftlog_rows")
                return
            self._control("RELEASE driftlog_rows")
        for row in rows:
            self._insert_row(row)

    def _insert_row(self, row: Row) -> None:
        try:
            self._insert(_INSERT, row)
        except apsw.ConstraintError:
            # Another event has this stamp. The same one again would be applied twice: identity spans both tables.
            if self.holds(Timestamp(*row[:3])):
                raise
            self._insert(_INSERT_TIE, row)

    def update_all(self, outcomes: Sequence[tuple[Any, ...]]) -> None:
        """Set what became of events in the log: each an outcome and the place."""
        before = self._connection.total_changes()
        self._update_all(_UPDATE, outcomes)
        if self._connection.total_changes() - before < len(outcomes):
            # Some lie in the other table. To set the rest again changes nothing.
            self._update_all(_UPDATE_TIE, outcomes)

    def holds(self, at: Timestamp) -> bool:
        """Tell whether the event is in the log."""
        return self._connection.execute(_HAS, at).get is not None

    def holds_any(self, device: DeviceKey, first: int, last: int) -> bool:
        """Tell whether any event of a device with a stamp from `first` to `last` is in the log."""
        return self._connection.execute(_HAS_ANY, (first, last, device)).get is not None

    def rows_at(self, places: Sequence[Place]) -> list[Row]:
        """Give the rows of events, in the order of `places`; none for an event that is not in the log."""
        rows: list[Row] = list(self._connection.executemany(_UNTIED, places))
        if len(rows) < len(places):
            rows = list(self._connection.executemany(_ENTRY, places))
        return rows

    def find(self, at: Timestamp) -> Entry | None:
        """Look an event up by its place."""
        row = next(raw_rows(self._connection, _ENTRY, at), None)
        return entry_of(row) if row is not None else None

    def pages(self, start: Timestamp = BEFORE_ALL) -> Iterator[list[Row]]:
        """Give the rows from `start` on, in order, `PAGE_ROWS` at a time. What is inserted before the last is not seen."""
        page = self._page(_FROM_UNTIED, _FROM, start)
        while page:
            yield page
            page = self._page(_AFTER_UNTIED, _AFTER, page[-1][:3]) if len(page) == PAGE_ROWS else []

    def entries(self, start: Timestamp = BEFORE_ALL) -> Iterator[Entry]:
        """Give the entries from `start` on, in order. What is inserted before the page of the last given is not seen."""
        for page in self.pages(start):
            yield from map(entry_of, page)

    def page_after(self, place: Timestamp) -> list[Entry]:
        """Give the next entries after a timestamp, at most `PAGE_ROWS`; none at the end."""
        return list(map(entry_of, self._page(_AFTER_UNTIED, _AFTER, place)))

    def _page(self, untied: str, tied: str, place: tuple[Any, ...]) -> list[Row]:
        sql = tied if self._connection.execute(_HAS_TIES).get else untied
        return self._connection.execute(sql, (*place, PAGE_ROWS)).fetchall()

    def undos(self, start: Timestamp) -> Iterator[bytes]:
        """Give the undo data from `start` on, oldest first. The log must not be written meanwhile."""
        for undo, *_ in raw_rows(self._connection, _UNDO_FROM, start):
            yield undo

    def controls(self) -> list[tuple[Timestamp, Record]]:
        """Give the engine's own events that are in force, in no particular order."""
        return [(Timestamp(*row[:3]), Record(row[0], *row[3:])) for row in raw_rows(self._connection, _CONTROLS)]

    def touches(self, start: Place, end: Place = AFTER_ALL) -> Iterator[Touching]:
        """Give what the placed events from `start` on and before `end` touched. Do not write the log meanwhile."""
        for row in raw_rows(self._connection, _TOUCHES, (*start, *end)):
            yield row[:3], row[3], row[4]

    def holding(self, mark: bytes) -> Iterator[Entry]:
        """Give the entries whose undo data holds these bytes, in order: looked for in SQLite, all others stay there."""
        return map(entry_of, raw_rows(self._connection, _UNDO_HOLDING, (mark,)))

    def writers_before(self, place: Timestamp) -> Iterator[tuple[Timestamp, bytes | None, bytes | None]]:
        """Give undo and touch data of the events before a place that changed the view, the latest first."""
        for hlc, device, event_hash, undo, touch in raw_rows(self._connection, _WRITERS_BEFORE, place):
            yield Timestamp(hlc, device, event_hash), undo, touch

    def rejected(self) -> Iterator[Entry]:
        """Give the rejected entries, in order."""
        return map(entry_of, raw_rows(self._connection, _REJECTED))

    def last_placed(self) -> Timestamp | None:
        """Give the greatest timestamp that is not held."""
        row = next(raw_rows(self._connection, _LAST_PLACED), None)
        return Timestamp(*row) if row else None

    def last_placed_up_to(self, hlc: int) -> Timestamp | None:
        """Give the greatest timestamp with a stamp up to `hlc` that is not held."""
        row = next(raw_rows(self._connection, _LAST_PLACED_UP_TO, (hlc,)), None)
        return Timestamp(*row) if row else None

    def has_last_word(self, device: DeviceKey) -> bool:
        """Tell whether nothing in its place follows what a device has said last, but what asks for no answer."""
        row = next(raw_rows(self._connection, _LAST_TELLING, (device,)), None)
        return row is None or row[0] == device

    def first_held_entry(self) -> Timestamp | None:
        """Give the least held timestamp."""
        row = next(raw_rows(self._connection, _FIRST_HELD_ENTRY), None)
        return Timestamp(*row) if row else None

    def first_held(self) -> int | None:
        """Give the least held stamp."""
        first: int | None = self._connection.execute(_FIRST_HELD).get
        return first

    def held_up_to(self, hlc: int) -> list[Entry]:
        """Give the held entries with stamps up to `hlc`."""
        return list(map(entry_of, raw_rows(self._connection, _HELD_UP_TO, (hlc,))))

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

    def count_placed(self) -> int:
        """Count the events that are not held. Reads all of them."""
        return self.count() - sum(self.count_held_by_device().values())

    def count_from(self, start: Timestamp) -> int:
        """Count the events from `start` on. Reads all of them."""
        count: int = self._connection.execute(_COUNT_FROM, start).get
        return count

    def has_before(self, start: Timestamp, count: int) -> bool:
        """Tell whether at least so many events lie before `start`. Reads no more than these."""
        found: int = self._connection.execute(_COUNT_BEFORE, (*start, count)).get
        return found >= count

    def count_held_by_device(self) -> dict[DeviceKey, int]:
        """Count the held events of each device that has any."""
        return {DeviceKey(device): count for device, count in raw_rows(self._connection, _COUNT_HELD)}

    def count_own_after(self, device: DeviceKey, hlc: int) -> int:
        """Count the events of a device after a stamp."""
        count: int = self._connection.execute(_COUNT_OWN_AFTER, (hlc, device)).get
        return count


def entry_of(row: Row) -> Entry:
    """Give what a row of the log holds."""
    hlc, device, event_hash, wall_ms, name, version, payload, state, reason, undo, touch = row
    record = Record(hlc, wall_ms, name, version, payload)
    return Entry(Timestamp(hlc, device, event_hash), record, STATES[state], reason, undo, touch)
