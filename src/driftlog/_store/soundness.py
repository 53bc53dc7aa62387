"""A short look at a file's end: whether what was written last reads back as it was written.

Bounded, so that it can be taken whenever the machine gives reason to doubt. `verify` reads everything.
"""

from typing import Final

import apsw

from driftlog._core.envelope import SIGNATURE_BYTES, envelope_hash
from driftlog._core.event import Record, place
from driftlog._core.ids import SpaceId
from driftlog._sqlite.rows import raw_rows
from driftlog.errors import Corrupt

EVENTS_MAX: Final = 1_000
ENVELOPES_MAX: Final = 100
"""Read back from the end: some 10 ms, and more than a transaction that failed usually wrote."""

_LAST_EVENTS = """
SELECT hlc, device, hash, wall_ms, name, version, payload FROM driftlog_log ORDER BY hlc DESC LIMIT ?
"""
_LAST_ENVELOPES = "SELECT id, hash, raw FROM driftlog_envelope ORDER BY id DESC LIMIT ?"
_HEADLESS = """
SELECT count(*) FROM driftlog_head AS h WHERE NOT EXISTS (
  SELECT 1 FROM driftlog_envelope AS e
  WHERE e.device = h.device AND e.batch_seq = h.batch_seq AND e.hash = h.hash AND e.is_chained = 1
)
"""


def check_end(connection: apsw.Connection, space: SpaceId, path: str) -> None:
    """Raise `Corrupt` unless the last events and envelopes are what their hashes say, and every head is there."""
    for hlc, device, hashed, *rest in raw_rows(connection, _LAST_EVENTS, (EVENTS_MAX,)):
        if place(space, device, Record(hlc, *rest)).event_hash != hashed:
            raise _damaged(path, f"the event with stamp {hlc}")
    for number, hashed, raw in raw_rows(connection, _LAST_ENVELOPES, (ENVELOPES_MAX,)):
        if envelope_hash(raw[:-SIGNATURE_BYTES]) != hashed:
            raise _damaged(path, f"envelope {number} of the file")
    if connection.execute(_HEADLESS).get:
        raise _damaged(path, "the end of a chain")


def _damaged(path: str, what: str) -> Corrupt:
    return Corrupt(f"{path} was opened anew after an I/O error, and {what} is not as it was written; run repair on it")
