"""How the connections of an open space are made, made anew after an I/O error, and let go."""

from collections.abc import Callable
from functools import partial
from typing import Final

import apsw

from driftlog._core.ids import SpaceId
from driftlog._sqlite.connection import Durability, connect
from driftlog._sqlite.wal import abandon, empty_wal, settle_wal_if_free
from driftlog._store.own_state import connect_for_queries
from driftlog._store.schema import PAGE_BYTES
from driftlog._store.soundness import check_end
from driftlog.errors import StorageError

MEMORY: Final = ":memory:"


class Connecting:
    """Makes connections to one file, as its first one was made."""

    def __init__(self, first: apsw.Connection, path: str, durability: Durability, vfs: str) -> None:
        self.is_read_only = first.readonly("main")
        self._path = path
        self._name = first.filename or path
        self._wal_name = first.filename_wal
        self._durability: Durability = durability
        self._vfs = vfs

    @property
    def is_in_memory(self) -> bool:
        """Whether there is no file, and so no second connection."""
        return self._path == MEMORY

    @property
    def system_name(self) -> str:
        """The file's name for the system; empty where there is none, as in memory or on another VFS."""
        return "" if self.is_in_memory or self._vfs else self._name

    @property
    def wal_name(self) -> str | None:
        """The WAL's name for the system; empty where there is none, None in memory, where nobody else writes."""
        return None if self.is_in_memory else self.system_name and self._wal_name

    def for_queries(self) -> Callable[[], apsw.Connection]:
        """Give what opens one that reads, with the views of the engine's state."""
        return partial(connect_for_queries, self._name, self._vfs, may_be_immutable=self.is_read_only)

    def anew(self, space: SpaceId) -> apsw.Connection:
        """Open one that does not hang on what a failed sync left in memory, and look at the ends of log and chains."""
        connection = connect(
            self._name,
            durability=self._durability,
            is_read_only=self.is_read_only,
            page_bytes=PAGE_BYTES,
            vfs=self._vfs,
            may_be_immutable=self.is_read_only,
        )
        try:
            if not self.is_read_only:
                empty_wal(connection)
            check_end(connection, space, self._path)
        except BaseException:
            abandon(connection)
            raise
        return connection

    def let_go(self, connection: apsw.Connection, *, is_in_doubt: bool, is_there: bool) -> None:
        """Close the last one, which moves the WAL into the file. Raises `StorageError` where that fails.

        `is_there` says whether the file is still at its path. What was recorded in relaxed durability may be in no sync that
        succeeds. In doubt, after an I/O error, or while somebody else writes, it stays in the WAL, for them or for who opens
        the file next.
        """
        try:
            if is_there and not self._may_be_moved(connection, is_in_doubt=is_in_doubt):
                abandon(connection)
                return
            if not self.is_read_only and not is_there:
                # SQLite leaves the WAL of a file that is not at its path any more, for who opens that path to stumble over.
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            connection.close()
        except BaseException as error:
            # Whatever ends it, the file is let go.
            abandon(connection)
            if not isinstance(error, apsw.Error):
                raise
            # SQLite does not mind, as it can move the WAL later. A VFS written in Python tells it all the same.
            raise StorageError(
                f"{self._path} was closed, but the disk failed ({type(error).__name__}: {error}) while what its WAL holds "
                "was moved into it; nothing that was recorded is lost, keep the WAL beside it and open it again"
            ) from error

    def _may_be_moved(self, connection: apsw.Connection, *, is_in_doubt: bool) -> bool:
        if self._durability == "full" or self.is_read_only or self.is_in_memory:
            return True
        # Another process may have met a failed sync of what lies in the WAL, and told nobody here.
        return not is_in_doubt and settle_wal_if_free(connection)
