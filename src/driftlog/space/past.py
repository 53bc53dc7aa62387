"""Time travel: the view as it was right after an event, as a value that no longer changes."""

from threading import Lock
from types import TracebackType
from typing import Self

import apsw

from driftlog._core.clock import Timestamp
from driftlog._core.limits import HLC_MAX
from driftlog._sqlite.reading import query_all
from driftlog._sqlite.rows import Parameters, Row
from driftlog._sqlite.storage_errors import storage_errors
from driftlog._sqlite.tables import TableSet
from driftlog._store.meta import Meta
from driftlog._store.past import copy_view, take_back
from driftlog._store.program import Program
from driftlog._store.view import view_digest
from driftlog.errors import AppChanged, Closed, DriftlogError
from driftlog.space.reader import Reader


class Past:
    """The view as it was right after an event, in memory and for reading. Made by `space.at`.

    It stays as it is, whatever the space takes in afterwards, and outlives it. Use it as a context manager, or `close()` it
    to give the memory back. It may be used from any thread, one query at a time.
    """

    timestamp: Timestamp
    """Up to which place in the order the events count, this one included."""

    def __init__(self, connection: apsw.Connection, tables: TableSet, timestamp: Timestamp, name: str) -> None:
        self.timestamp = timestamp
        self._name = name
        self._connection = connection
        self._tables = tables
        self._lock = Lock()
        self._is_closed = False

    def query(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Give the rows of a query on the app's tables as they were. The engine's own tables are not in it."""
        with storage_errors(self._name), self._lock:
            self._check_open()
            return query_all(self._connection, sql, parameters)

    def digest(self) -> bytes:
        """Hash the tables: 32 bytes, equal to what `space.digest()` gave if it stood here. Reads every row."""
        with storage_errors(self._name), self._lock:
            self._check_open()
            return view_digest(self._connection, self._tables)

    def close(self) -> None:
        """Give the memory back. May be called twice."""
        with self._lock:
            self._is_closed = True
            self._connection.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise Closed(f"the view at {self.timestamp} was closed; make another with space.at(timestamp)")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Past at {self.timestamp}>"


def view_at(reader: Reader, program: Program, timestamp: Timestamp) -> Past:
    """Make the view as it was: copy under the reader's lock, if it shares one, and take the copy back without it."""
    check_timestamp(timestamp)
    with storage_errors(reader.path), reader.apart() as source:
        check_view_is_of(source, program, reader.path)
        copied = copy_view(source, program.tables, timestamp)
    name = f"{reader.path} at {timestamp}, in memory"
    try:
        with storage_errors(name):
            take_back(copied, program.tables)
    except BaseException:
        copied.connection.close()
        raise
    return Past(copied.connection, program.tables, timestamp, name)


def check_timestamp(timestamp: Timestamp) -> None:
    """Raise unless it can be compared with those in the log."""
    is_one = isinstance(timestamp, Timestamp) and isinstance(timestamp.hlc, int) and 0 <= timestamp.hlc <= HLC_MAX
    if not (is_one and isinstance(timestamp.device, bytes) and isinstance(timestamp.event_hash, bytes)):
        raise DriftlogError(
            f"{timestamp!r} is no timestamp with a stamp from 0 to {HLC_MAX}; give one that `append` returned or `log` shows"
        )


def check_view_is_of(connection: apsw.Connection, program: Program, path: str) -> None:
    """Raise unless the undo data in the file speaks of tables as this version of the app declares them."""
    if Meta(connection).get("view") != program.fingerprint:
        raise AppChanged(
            f"the tables in {path} were made by another version of the app, whose past only that version can read; open "
            "the file with it, or with this one where it can be written, which rebuilds them"
        )
