"""The engine's own state as views, for queries and live queries of the app: what is pending, held and unknown, and devices.

They are TEMP views, made on each connection that is asked for one, so the file's format has no part in them and they can
change with the library. `driftlog_rejected` lies in the file too (`schema.py`), where it reads all of the log; here, an
index. No materializer reaches any: names in `driftlog_` are refused, because what they hold differs between devices.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import apsw

from driftlog._core.ids import DeviceKey
from driftlog._sqlite.connection import connect
from driftlog._store.log import HELD, REJECTED, UNKNOWN


def _events(name: str, condition: str, more: str = "") -> str:
    # Of each table by itself: asked of `driftlog_entry`, SQLite reads all of the log and leaves the indexes alone.
    columns = f"hlc, device, hash, wall_ms, name, version & 32767 AS version{more}"
    return f"""
CREATE TEMP VIEW {name} AS
  SELECT {columns} FROM main.driftlog_log WHERE {condition} UNION ALL
  SELECT {columns} FROM main.driftlog_tie WHERE {condition};
"""


_OWN: Final = "(SELECT value FROM main.driftlog_meta WHERE key = 'device')"
# The stamp up to which some relay holds this device's chain: as `Store.pending` has it, in one statement.
_CONFIRMED_HLC: Final = f"""(
    SELECT coalesce(max(last_hlc), 0) FROM main.driftlog_envelope WHERE device = {_OWN} AND is_chained = 1
    AND batch_seq = (SELECT coalesce(max(confirmed_seq), 0) FROM main.driftlog_relay)
  )"""

_VIEWS: Final = f"""
{_events("driftlog_pending", f"hlc > {_CONFIRMED_HLC} AND device = {_OWN}")}
-- The first half of these conditions is what the partial indexes say of themselves.
{_events("driftlog_rejected", f"state <> 0 AND state = {REJECTED}", ", reason")}
{_events("driftlog_held", f"state <> 0 AND state = {HELD}")}
{_events("driftlog_unknown", f"state <> 0 AND state = {UNKNOWN}")}

-- Whoever has a chain here, or an envelope that waits for one; this device, although it may have none yet.
CREATE TEMP VIEW driftlog_device AS
  SELECT
    device, device = {_OWN} AS is_self, max(batch_seq) AS envelopes, max(last_hlc) AS last_hlc,
    sum(batch_seq > 0) > 1 AS is_forked
  FROM (
    SELECT device, batch_seq, last_hlc FROM main.driftlog_head UNION ALL
    SELECT device, 0, 0 FROM main.driftlog_envelope WHERE is_chained = 0 UNION ALL
    SELECT value, 0, 0 FROM main.driftlog_meta WHERE key = 'device'
  )
  GROUP BY device;
"""


def seen_through(own: DeviceKey) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Say what a row must have to be seen through a view, so that a live query is not run for others: by view and table.

    Without it, a device that only reads would count what is pending with each event of another, over all that has come
    since a relay last confirmed anything of its own.
    """
    fact: dict[str, dict[str, Any]] = {"driftlog_meta": {"key": "device"}}
    by_state: dict[str, dict[str, dict[str, Any]]] = {
        f"driftlog_{state}": {"driftlog_log": {"state": number}, "driftlog_tie": {"state": number}}
        for state, number in (("rejected", REJECTED), ("held", HELD), ("unknown", UNKNOWN))
    }
    owned: dict[str, dict[str, Any]] = {
        name: {"device": own} for name in ("driftlog_log", "driftlog_tie", "driftlog_envelope")
    }
    return {**by_state, "driftlog_pending": owned | fact, "driftlog_device": fact}


_PREFIX: Final = "driftlog_"
_IS_SHOWN: Final = "SELECT EXISTS (SELECT 1 FROM temp.sqlite_schema)"


def show_own_state(connection: apsw.Connection, sql: str = _PREFIX) -> None:
    """Make the views on a connection, unless they are there or `sql` can name none. Writes nothing to the file.

    Not when it is opened, because most connections are never asked for one. Nor is it remembered, because a transaction that
    is undone takes them along.
    """
    if _PREFIX in sql.lower() and not connection.execute(_IS_SHOWN).get:
        connection.execute(_VIEWS)


def connect_for_queries(path: str | Path, vfs: str, *, may_be_immutable: bool = False) -> apsw.Connection:
    """Open a connection that reads, with the views; see `connect`."""
    connection = connect(path, is_read_only=True, vfs=vfs, may_be_immutable=may_be_immutable)
    try:
        show_own_state(connection)
    except BaseException:
        connection.close()
        raise
    return connection
