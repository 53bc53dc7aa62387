"""What this device's view is made of, and what others have stated about theirs: read from one state of the file.

The log's end is enough: a statement follows all that its device had placed, so one that is about exactly what is here lies
behind the last event that is more than neutral. Earlier ones are about less.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import apsw

from driftlog._core.clock import Timestamp
from driftlog._core.event import Record
from driftlog._core.ids import NO_ENVELOPE, BatchSeq, DeviceKey, EnvelopeHash
from driftlog._core.limits import ENVELOPE_EVENTS_MAX
from driftlog._core.statement import DIGEST, NEUTRAL_NAMES, Statement, digest_of_events, is_neutral, stated_by
from driftlog._core.version_vector import Head
from driftlog._sqlite.rows import raw_rows
from driftlog._store.chain import Chains
from driftlog._store.log import Log
from driftlog._store.meta import Meta
from driftlog._store.sealing import OpenEnvelope

STATEMENTS_MAX: Final = 1_000
"""Read at a time, the latest first. An honest device makes one an hour and only after something was said, so more than this
behind the last word is somebody's noise."""

_TABLES: Final = ("driftlog_log", "driftlog_tie")
_NEUTRAL: Final = ", ".join(f"'{name}'" for name in NEUTRAL_NAMES)
_RAW = "SELECT raw FROM driftlog_envelope WHERE device = ? AND batch_seq = ? AND hash = ?"
# Passes over the neutral events at the order's end, which are few, and over what is held, which may be of any year.
_LAST_TELLING = f"""
{" UNION ALL ".join(f"SELECT hlc FROM {table} WHERE state <> 2 AND name NOT IN ({_NEUTRAL})" for table in _TABLES)}
ORDER BY hlc DESC LIMIT 1
"""
# The conditions on the name are what the partial indexes say of themselves; within one, rows are in order of their stamps.
_IS_STATEMENT: Final = f"name = '{DIGEST}' AND name >= 'driftlog.' AND name < 'driftlog/'"
_COLUMNS: Final = "hlc, device, hash, wall_ms, name, version, payload"


def _latest_first(condition: str) -> str:
    both = " UNION ALL ".join(
        f"SELECT {_COLUMNS} FROM {table} WHERE {_IS_STATEMENT} AND {condition}" for table in _TABLES
    )
    return f"{both} ORDER BY hlc DESC, device DESC, hash DESC LIMIT ?2"


_STATEMENTS = _latest_first("hlc >= ?1")
_STATEMENTS_OF = _latest_first("device = ?1")
_HELD = " UNION ALL ".join(
    f"SELECT hlc, device, hash, name, version FROM {table} WHERE state <> 0 AND state = 2" for table in _TABLES
)


class Stated(NamedTuple):
    """A statement in its place."""

    timestamp: Timestamp
    wall_ms: int
    statement: Statement


def statements_at_end(connection: apsw.Connection) -> dict[DeviceKey, Stated]:
    """Give the last statement of each device that has made any since the last event that was more than neutral."""
    since = connection.execute(_LAST_TELLING).get or 0
    found: dict[DeviceKey, Stated] = {}
    for stated in _read(connection, _STATEMENTS, (since, STATEMENTS_MAX)):
        found.setdefault(stated.timestamp.device, stated)
    return found


def last_statement_of(connection: apsw.Connection, device: DeviceKey) -> Stated | None:
    """Give the last statement of a device."""
    return next(_read(connection, _STATEMENTS_OF, (device, 1)), None)


def _read(connection: apsw.Connection, sql: str, parameters: tuple[int | bytes, int]) -> Iterator[Stated]:
    for hlc, device, event_hash, wall_ms, *rest in raw_rows(connection, sql, parameters):
        statement = stated_by(Record(hlc, wall_ms, *rest))
        if statement is not None:
            yield Stated(Timestamp(hlc, device, event_hash), wall_ms, statement)


class ViewSource:
    """Says what the view is made of. Remembers of each head where its chain last said more than neutral things.

    Calls must not overlap.
    """

    def __init__(self, device: DeviceKey, open_envelope: OpenEnvelope) -> None:
        self._device = device
        self._open_envelope = open_envelope
        self._telling_by_head: dict[EnvelopeHash, Head | None] = {}

    def digest(self, connection: apsw.Connection) -> bytes | None:
        """Hash it, as `digest_of_events` does; None while the view holds own events that are in no envelope yet.

        Opens each envelope that has become a head since the last call, and of chains that end in neutral ones those before
        it, at some 0.1 ms each.
        """
        if self._has_unsealed(connection):
            return None
        telling: list[tuple[DeviceKey, Head]] = []
        known: dict[EnvelopeHash, Head | None] = {}
        for device, head in Chains(connection).version_vector().flat():
            known[head.hash] = last = self._last_telling(connection, device, head)
            if last is not None:
                telling.append((device, last))
        self._telling_by_head = known
        return digest_of_events(telling, self._held(connection))

    def _has_unsealed(self, connection: apsw.Connection) -> bool:
        sealed_hlc = Meta(connection).own_branch().last_hlc
        pending = Log(connection).own_after(self._device, sealed_hlc, ENVELOPE_EVENTS_MAX)
        return len(pending) == ENVELOPE_EVENTS_MAX or not all(map(is_neutral, pending))

    def _last_telling(self, connection: apsw.Connection, device: DeviceKey, head: Head) -> Head | None:
        seq, at = head
        while at != NO_ENVELOPE:
            if at in self._telling_by_head:
                return self._telling_by_head[at]
            [(raw,)] = raw_rows(connection, _RAW, (device, seq, at))
            envelope, batch = self._open_envelope(raw)
            if not all(map(is_neutral, batch.records)):
                return Head(seq, at)
            seq, at = BatchSeq(seq - 1), envelope.header.previous
        return None

    def _held(self, connection: apsw.Connection) -> list[Timestamp]:
        return [
            Timestamp(hlc, device, event_hash)
            for hlc, device, event_hash, name, version in raw_rows(connection, _HELD)
            if not is_neutral(Record(hlc, 0, name, version, b""))
        ]
