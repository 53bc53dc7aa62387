"""The view as it was: a copy of the tables in memory, taken back to a place in the total order.

The log keeps, with every applied event, the images of the rows it changed, and keeps them exact in the total order,
whatever arrived when. So the past is not replayed: the tables are copied as they are, and the images of all later events
are put back, each row once. No materializer runs. Replaying from empty was rejected: it costs some six times as much an
event, so only the first fifth of a log would gain, and it would need a second way to fold.

Left out: keeping a copy up to date. It is of one moment, and what arrives later does not reach it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import apsw

from driftlog._core.clock import Timestamp
from driftlog._core.ids import EventHash
from driftlog._sqlite.connection import connect
from driftlog._sqlite.tables import TableSet
from driftlog._store.log import Log
from driftlog._store.view import View


class Copied(NamedTuple):
    """The tables as they are, in a database of their own in memory, and the undo data that leads back from them."""

    connection: apsw.Connection
    undos: list[bytes]


def copy_view(source: apsw.Connection, tables: TableSet, timestamp: Timestamp) -> Copied:
    """Copy the tables, and the undo data of the events after `timestamp`, which `source` must show in one state.

    This is all that needs the source; `take_back` does the rest without it. The view must be of this version of the app.
    """
    with _in_memory() as connection:
        View(connection, tables).create()
        _suspend_constraints(connection)
        insert_all = connection.cursor().executemany
        connection.execute("BEGIN")
        for table in tables.tables:
            insert_all(table.insert_sql, source.execute(table.select_all_sql))
        connection.execute("COMMIT")
        return Copied(connection, list(Log(source).undos(_next_place(timestamp))))


def take_back(copied: Copied, tables: TableSet) -> None:
    """Take the copy back by its undo data, and let nothing be written to it any more."""
    connection, undos = copied
    connection.execute("BEGIN")
    View(connection, tables).rewind(undos)
    connection.execute("COMMIT")
    connection.pragma("query_only", 1)


def _next_place(timestamp: Timestamp) -> Timestamp:
    # A hash with one byte more sorts after the hash itself and before every other, in Python as in SQLite.
    return timestamp._replace(event_hash=EventHash(timestamp.event_hash + b"\0"))


def _suspend_constraints(connection: apsw.Connection) -> None:
    # What is copied is what triggers and foreign keys have led to; run again, they would add to it, or refuse a child
    # whose parent lies in a table that comes later.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 0)
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)


@contextmanager
def _in_memory() -> Iterator[apsw.Connection]:
    """Give a database in memory, and let go of it again if what follows fails."""
    connection = connect(":memory:")
    try:
        yield connection
    except BaseException:
        connection.close()
        raise
