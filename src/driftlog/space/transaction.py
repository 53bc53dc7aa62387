"""What `space.transaction()` gives: reading, deciding and appending as one, under the write lock."""

from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from driftlog._core.clock import Timestamp
from driftlog._core.event import Event
from driftlog._sqlite.reading import query_all, query_one
from driftlog._sqlite.rows import Parameters, Row
from driftlog._sqlite.storage_errors import storage_errors
from driftlog._store.own_state import show_own_state
from driftlog._store.program import Program, Rejection
from driftlog._store.reading import check_not_upgrading
from driftlog._store.store import Store
from driftlog.errors import DriftlogError
from driftlog.space.appender import rejected
from driftlog.space.entries import prepare_events


class Transaction:
    """Read, decide, append: atomic. Given by `space.transaction()`, valid within its `with` block."""

    def __init__(self, store: Store, program: Program, path: str) -> None:
        self._store = store
        self._program = program
        self._path = path
        self._is_over = False

    def one(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """Give the first row of a query, or None; it sees what this transaction appended."""
        with self._reading() as connection:
            show_own_state(connection, sql)
            return query_one(connection, sql, parameters)

    def query(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Give all rows of a query; it sees what this transaction appended."""
        with self._reading() as connection:
            show_own_state(connection, sql)
            return query_all(connection, sql, parameters)

    def append(self, *events: Event) -> tuple[Timestamp, ...]:
        """Append events to the transaction, all or none. `EventRejected` may be caught, and the transaction goes on."""
        prepared = prepare_events(self._program, events)
        self._check_open()
        try:
            with storage_errors(self._path), self._store.savepoint():
                return self._store.append(prepared)
        except Rejection as rejection:
            raise rejected(rejection) from rejection.__cause__

    def execute_local(self, sql: str, parameters: Parameters = ()) -> None:
        """Run one INSERT, UPDATE or DELETE on the app's local tables, and on no others, as a part of the transaction.

        Raises `ForbiddenSQL` for what is not that, and SQLite's own error for what breaks a constraint: it may be caught,
        and the transaction goes on. Read what it did with `query`.
        """
        with self._reading():
            self._store.local.execute(sql, parameters)

    @contextmanager
    def _reading(self) -> Iterator[apsw.Connection]:
        self._check_open()
        with storage_errors(self._path), self._store.noting_failures():
            self._store.check_sound()
            yield self._store.connection

    def _check_open(self) -> None:
        check_not_upgrading()
        if self._is_over:
            raise DriftlogError("the transaction is over; use its tx within the `with` block only")
