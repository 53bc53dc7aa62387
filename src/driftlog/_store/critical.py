"""Critical events that this version of the app does not know: while the log holds one, nothing is appended here.

What an app does on a view that lacks such an event may be what the event forbids. So the device reads, receives and
forwards, and waits for an update. An event that is held has no effect yet, and stops nothing before its time.
"""

from typing import Final

import apsw

from driftlog._core.event import EventType, version_of
from driftlog._sqlite.rows import raw_rows

AWAITED_TYPES_MAX: Final = 16
"""Enough to tell a person what is missing; a member may write events of any number of types that nobody knows."""

# Each half is covered by a partial index that holds these rows and no others, in this order.
_IS_AWAITED: Final = "state <> 0 AND state = 3 AND version > 32767"
_AWAITED = f"""
SELECT name, version FROM driftlog_log WHERE {_IS_AWAITED}
UNION SELECT name, version FROM driftlog_tie WHERE {_IS_AWAITED}
ORDER BY name, version LIMIT {AWAITED_TYPES_MAX}
"""


def awaited_types(connection: apsw.Connection) -> tuple[EventType, ...]:
    """Give the critical types of which the log holds an unknown event, in order, at most `AWAITED_TYPES_MAX`."""
    return tuple((name, version_of(marked_version)) for name, marked_version in raw_rows(connection, _AWAITED))
