"""The connection that queries use: its own where the file allows, so that no reader waits for a writer."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, RLock

import apsw

from driftlog._sqlite.connection import connect


class Reader:
    """Lends a connection that reads; one borrower at a time. A shared one is the writer's, and takes turns with it."""

    def __init__(self, writer: apsw.Connection, lock: RLock, path: str, *, is_shared: bool) -> None:
        self.path = path
        self._is_shared = is_shared
        self._lock = lock if is_shared else Lock()
        self._connection = writer if is_shared else connect(path, is_read_only=True)

    @contextmanager
    def connection(self) -> Iterator[apsw.Connection]:
        """Borrow the connection; statements on it must be finished when it is given back."""
        with self._lock:
            yield self._connection

    @contextmanager
    def consistent(self) -> Iterator[apsw.Connection]:
        """Borrow the connection, with all statements seeing one state of the file, whoever writes meanwhile."""
        with self.connection() as connection:
            if self._is_shared:
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("COMMIT")

    def close(self) -> None:
        """Close the connection, if it is this reader's own."""
        with self._lock:
            if not self._is_shared:
                self._connection.close()
