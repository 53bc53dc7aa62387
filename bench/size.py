"""What one event costs in bytes: on the wire, in the relay's file, and on each device, beside the view.

Bytes are counted, not timed, so one run says it all. A file's share of a table is that of the pages it occupies, as
SQLite's `dbstat` lists them, half-empty ones included: that is what the disk is short of afterwards.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw

from bench import sample
from driftlog import VersionVector
from driftlog._core.event import encode_event
from driftlog._core.ids import Position
from driftlog._protocol.messages import Envelopes, Read, Stored, Upload
from driftlog.testing import RelayThread

EVENTS: Final = 10_000
PER_ENVELOPE: Final = (1, 10, 100)
SYNC_SECONDS_MAX: Final = 120

_INDEXES: Final = "SELECT name FROM sqlite_schema WHERE type = 'index' AND name LIKE 'driftlog\\_%' ESCAPE '\\'"
# `aggregate` gives one row for each table and index instead of one for each page.
_PAGES: Final = "SELECT name, pgsize FROM dbstat WHERE aggregate = TRUE"
_UNDO: Final = "SELECT coalesce(sum(length(undo)), 0) FROM driftlog_entry"


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes an event, for one size of envelope."""

    per_envelope: int
    payload: float
    envelope: float
    wire_up: float
    """An UPLOAD frame and its STORED, WebSocket's headers included, TCP's and TLS's not."""
    wire_down: float
    """An ENVELOPES frame and its READ."""
    relay_file: float
    device_log: float
    device_undo: float
    device_envelope: float
    device_index: float
    view: float
    """The app's own table, which the totals leave out."""

    @property
    def device(self) -> float:
        """All that a device keeps beside the view."""
        return self.device_log + self.device_undo + self.device_envelope + self.device_index


def measure(directory: Path) -> Iterator[Cost]:
    """Count for each size of envelope, about ten seconds in all."""
    for per_envelope in PER_ENVELOPE:
        yield _cost(directory, per_envelope)


def _cost(directory: Path, per_envelope: int) -> Cost:
    path = directory / f"space-{per_envelope}.db"
    with sample.app.open(path, durability="relaxed") as space:
        for first in range(0, EVENTS, per_envelope):
            space.append(*map(sample.event, range(first, first + per_envelope)))
            space.seal()
        envelopes = list(space.envelopes_for(VersionVector()))
        relay = RelayThread(directory / f"relay-{per_envelope}.db")
        relay.start()
        try:
            assert space.sync(relay.url).wait(SYNC_SECONDS_MAX)
        finally:
            relay.stop()
    sizes = dict(_rows(path, _PAGES))
    [(undo,)] = _rows(path, _UNDO)
    return Cost(
        per_envelope=per_envelope,
        payload=len(encode_event(sample.event(0), is_float_allowed=False)),
        envelope=sum(map(len, envelopes)) / EVENTS,
        wire_up=sum(_up(raw) for raw in envelopes) / EVENTS,
        wire_down=sum(_down(raw, at) for at, raw in enumerate(envelopes, 1)) / EVENTS,
        relay_file=sum(size for _, size in _rows(relay.path, _PAGES)) / EVENTS,
        device_log=(sizes["driftlog_log"] - undo) / EVENTS,
        device_undo=undo / EVENTS,
        device_envelope=sizes["driftlog_envelope"] / EVENTS,
        device_index=sum(sizes[name] for (name,) in _rows(path, _INDEXES)) / EVENTS,
        view=sizes["todo"] / EVENTS,
    )


def _rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """Read a closed file."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def _up(raw: bytes) -> int:
    return _frame(Upload((raw,)).encode(), is_masked=True) + _frame(Stored(1).encode(), is_masked=False)


def _down(raw: bytes, position: int) -> int:
    sent = Envelopes(walk=1, until=Position(position), is_caught_up=True, envelopes=(raw,)).encode()
    return _frame(sent, is_masked=False) + _frame(Read(Position(position)).encode(), is_masked=True)


def _frame(message: bytes, *, is_masked: bool) -> int:
    """Give a message's size with its WebSocket header (RFC 6455, 5.2); what a device sends is masked."""
    size = len(message)
    length_bytes = 0 if size < 126 else 2 if size < 1 << 16 else 8
    return 2 + length_bytes + 4 * is_masked + size
