"""One state of the file to stand on: where a live query is run, and what its callback reads while it is told.

A read transaction on a connection of its own, opened when it is first needed. While a callback runs, its thread's queries go
through that connection (`Reader`), so they see the state that it was told of, whoever writes meanwhile; once the callback
has written itself, they see the newest, its own writes included. A space in memory has one connection: there nothing stands,
and a callback sees what another thread has written since.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import local

import apsw

from driftlog._sqlite.wal import abandon
from driftlog.space.turns import Turns

CatchUp = Callable[[], int | None]
"""Makes due, under the lock that writing holds, what was committed until now; see `Live.catch_up`."""


class Told(local):
    """What the running thread was told of: the connection that stands there, None outside of callbacks."""

    connection: apsw.Connection | None = None


class Standing:
    """The connection of those who are called back in one place."""

    def __init__(self, connect: Callable[[], apsw.Connection], lock: Turns, told: Told) -> None:
        self._connect = connect
        self._lock = lock
        self._told = told
        self._connection: apsw.Connection | None = None
        self._is_in_doubt = False
        self.generation: int | None = None
        """Of the state stood on, as `CatchUp` gave it; None if others were writing as it was chosen."""

    def doubt(self) -> None:
        """Read through a new connection from the next time on: the machine has failed under this one."""
        self._is_in_doubt = True

    def is_within_a_transaction(self) -> bool:
        """Tell whether this thread has one open that would be seen half done here."""
        return False

    def querying(self, catch_up: CatchUp) -> AbstractContextManager[object]:
        """Hold what a query needs while it runs."""
        del catch_up
        return nullcontext()

    @contextmanager
    def here(self, catch_up: CatchUp) -> Iterator[apsw.Connection]:
        """Stand on the newest state, and catch up with it, unless somebody writes: nobody here waits for that."""
        if self._connection is not None and self._is_in_doubt:
            abandon(self._connection)
            self._connection = None
        if self._connection is None:
            self._is_in_doubt = False
            self._connection = self._connect()
        connection = self._connection
        try:
            connection.execute("BEGIN")
            is_free = self._lock.take_if_free()
            try:
                # The state is chosen by the first statement that reads, not by BEGIN.
                connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
                self.generation = catch_up() if is_free else None
            finally:
                if is_free:
                    self._lock.let_go()
            yield connection
        except apsw.Error:
            # Another one is opened next time: this one may be of a file that failed.
            self._connection = None
            abandon(connection)
            raise
        finally:
            if self._connection is not None and connection.in_transaction:
                connection.execute("COMMIT")

    @contextmanager
    def telling(self, connection: apsw.Connection) -> Iterator[None]:
        """Let what this thread reads within see the state that it stands on."""
        before, self._told.connection = self._told.connection, connection
        try:
            yield
        finally:
            # Once a callback has written, nothing stands any more, for the one around it neither.
            if self._told.connection is connection:
                self._told.connection = before

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class SharedStanding(Standing):
    """The place of those called back by a space in memory: its one connection, under its lock while a query runs."""

    def __init__(self, connection: apsw.Connection, lock: Turns, told: Told) -> None:
        super().__init__(lambda: connection, lock, told)
        self._shared = connection

    def is_within_a_transaction(self) -> bool:
        """Look, if the lock is free or this thread's own; a transaction of another thread is waited for by each query."""
        if not self._lock.take_if_free():
            return False
        try:
            return self._shared.in_transaction
        finally:
            self._lock.let_go()

    @contextmanager
    def querying(self, catch_up: CatchUp) -> Iterator[None]:
        """Hold the lock, so that no transaction is half done, and each query is run on the newest state."""
        with self._lock:
            self.generation = catch_up()
            yield

    @contextmanager
    def here(self, catch_up: CatchUp) -> Iterator[apsw.Connection]:
        """Use the one connection."""
        del catch_up
        yield self._shared

    @contextmanager
    def telling(self, connection: apsw.Connection) -> Iterator[None]:
        """Let this thread read as always: holding the lock for a callback would keep every writer waiting for it."""
        del connection
        yield

    def close(self) -> None:
        """Leave the connection to the space."""
