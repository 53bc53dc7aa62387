"""The connection that queries use: its own where the file allows, so that no reader waits for a writer."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import apsw

from driftlog._sqlite.connection import connect
from driftlog._sqlite.wal import abandon
from driftlog.space.reopening import Reopening
from driftlog.space.standing import Told
from driftlog.space.turns import Turns
from driftlog.space.whereabouts import Whereabouts


class Reader:
    """Lends a connection that reads; one borrower at a time. A shared one is the writer's, and takes turns with it."""

    def __init__(
        self,
        writer: apsw.Connection,
        lock: Turns,
        path: str,
        reopening: Reopening,
        whereabouts: Whereabouts,
        *,
        is_shared: bool,
        vfs: str = "",
    ) -> None:
        self.path = path
        self._whereabouts = whereabouts
        self.told = Told()
        self._vfs = vfs
        self._reopening = reopening
        self._is_shared = is_shared
        self._lock: Lock | Turns = lock if is_shared else Lock()
        self._connection = writer if is_shared else connect(path, is_read_only=True, vfs=vfs)

    @contextmanager
    def connection(self) -> Iterator[apsw.Connection]:
        """Borrow the connection; statements on it must be finished when it is given back."""
        if self.told.connection is not None:
            # Within a callback of a live query, which is told of the state that this connection stands on.
            with self._reopening.watching():
                yield self.told.connection
            return
        with self._lock, self._reopening.watching():
            yield self._connection

    @contextmanager
    def consistent(self) -> Iterator[apsw.Connection]:
        """Borrow the connection, with all statements seeing one state of the file, whoever writes meanwhile."""
        with self.connection() as connection:
            # A space in memory may be asked within its own transaction; no one else can write there. One opened read-only
            # has a single connection too, but the file may be another process's to write.
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                # An I/O error has ended it already; ending it again would raise an error in place of that one.
                if connection.in_transaction:
                    connection.execute("COMMIT")

    @contextmanager
    def apart(self) -> Iterator[apsw.Connection]:
        """Do as `consistent`, for a long read: on a connection of its own where the file allows, so that nobody waits."""
        if self._is_shared or self.told.connection is not None:
            with self.consistent() as connection:
                yield connection
            return
        # By name, it could be another file by now.
        self._whereabouts.check()
        # By the connection's own name for it: the working directory may have changed since the space was opened.
        with self._reopening.watching():
            connection = connect(self._connection.filename, is_read_only=True, vfs=self._vfs)
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                connection.close()

    def reopen(self, writer: apsw.Connection) -> None:
        """Read through a new connection from now on."""
        with self._lock:
            name, before = self._connection.filename, self._connection
            self._connection = writer if self._is_shared else connect(name, is_read_only=True, vfs=self._vfs)
            if not self._is_shared:
                abandon(before)

    def close(self) -> None:
        """Close the connection, if it is this reader's own."""
        with self._lock:
            if not self._is_shared:
                self._connection.close()
