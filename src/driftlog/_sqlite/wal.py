"""Care of the write-ahead log: what it holds is on the disk before anything is built on it, or moved from it.

A sync that fails leaves pages in the kernel's memory that count as written, and that no later sync will write. So whoever
takes over what others have left, or moves what nobody has synced, writes the WAL over itself first; and who closes a
connection to a file of which nothing is known yet leaves it where it is.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import apsw

from driftlog._sqlite.storage_errors import ENVIRONMENT_ERRORS
from driftlog._sqlite.transactions import waiting_at_most, write_transaction

WAL_BYTES: Final = 40 << 20
"""How long a WAL may be before it is moved into the database: moving it rarely costs less, a longer one makes opening after
a crash slower."""
MUCH_TOO_LONG: Final = 2
"""A WAL that is so many times as long as it may be is cut."""
SYNCED_BYTES_MIN: Final = 4 << 20
"""Of a WAL that cannot begin anew, so much is written over and synced before it is known to be safe."""
WAL_CHUNK_BYTES: Final = 64 << 10
"""Of a WAL that is written over itself after a failure, at a time. SQLite's VFS takes its sizes modulo 128 KiB, and calls a
write of just that much a full disk."""
_HEADER: Final = struct.Struct(">8xI4x8s8x")
"""Of a WAL: the size of its pages, and the salt that tells it from the one before it in the same file
(https://sqlite.org/fileformat2.html#the_wal_file_format)."""
_FRAME: Final = struct.Struct(">8x8s8x")
"""What stands before each page: the same salt, or that of a WAL before."""
SETTLING_MS: Final = 2_000
"""For who opens a file: longer than another takes who opens it, too, and writes its WAL anew; shorter than a rebuild."""


def empty_wal(connection: apsw.Connection) -> None:
    """Write all that the WAL holds into the database, sync it there, and let the WAL begin anew from its start.

    What a failed sync left in memory only is so written again. Raises `apsw.BusyError` while others read older states.
    """
    # In a transaction, so that nobody else appends to the WAL, or begins it anew, meanwhile.
    with write_transaction(connection):
        _write_wal_over_itself(connection)
    if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]:
        raise apsw.BusyError("others are reading what the WAL holds")


def move_wal_when_long(connection: apsw.Connection, pages_max: int) -> None:
    """Have a connection of relaxed durability move the WAL into the database after a commit that has made it long."""
    connection.set_wal_hook(_Moving(pages_max))


class _Moving:
    """Moves the WAL as SQLite itself does it, but that what a failed sync has left in memory is written again first.

    In relaxed durability nothing else has synced it, be it this process or another that wrote so, and a power cut while the
    database is half written would find no WAL to mend it with. What goes wrong here is no matter, as the commit has
    succeeded: the WAL goes on growing, and the next commit tries again. One that readers have let grow long is cut: whoever
    opens the file reads all of it.
    """

    def __init__(self, pages_max: int) -> None:
        self._pages_max = pages_max
        self._longest = 0
        self._salt = b""
        self._safe_bytes = 0
        """Of the WAL with this salt, so many were written over and are on the disk."""

    def __call__(self, connection: apsw.Connection, _database: str, pages: int) -> int:
        self._longest = max(self._longest, pages)
        if pages >= self._pages_max or self._is_to_be_cut:
            try:
                with waiting_at_most(connection, 0):
                    self._move(connection, pages)
            except apsw.BusyError:
                pass  # Somebody writes, or reads what is to be cut.
            except (*ENVIRONMENT_ERRORS, MemoryError):
                # If it was a sync that failed, what follows in the WAL would be built on what no sync will write any more.
                self._safe_bytes = 0
                _settle_with_next_commit(connection)
        return apsw.SQLITE_OK

    @property
    def _is_to_be_cut(self) -> bool:
        return self._longest >= MUCH_TOO_LONG * self._pages_max

    def _move(self, connection: apsw.Connection, pages: int) -> None:
        with write_transaction(connection):
            salt, sure_end, end = _content_of_wal(connection, pages)
            if salt != self._salt:
                # It has begun anew.
                self._salt, self._safe_bytes = salt, 0
            _write_wal_over_itself(connection, self._safe_bytes, end)
        if sure_end - self._safe_bytes >= SYNCED_BYTES_MIN:
            _sync_wal(connection)
            self._safe_bytes = sure_end
        if self._is_to_be_cut:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self._longest = 0
        else:
            # A file that keeps its size need not be made longer again, which costs more than writing over it.
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)


def settle_wal(connection: apsw.Connection) -> None:
    """Have on the disk what a process has left in the WAL that died before it was synced, or after a sync had failed.

    SQLite takes such a transaction for committed as soon as it can read it, and syncs it with the next one only; after a
    failed sync, never. Meanwhile what it holds could be shown, handed on or acknowledged again, and what others write after
    it in the WAL be acknowledged, and all of it still be lost when power goes.
    """
    try:
        with waiting_at_most(connection, SETTLING_MS):
            _settle(connection)
    except apsw.BusyError:
        # Nobody waits for a rebuild in order to read. But nothing is built on what may not be on the disk.
        _settle_with_next_commit(connection)
        _sync_wal(connection)
    except apsw.ReadOnlyError:
        # Nothing will be built on a WAL that may not be written.
        _sync_wal(connection)


def settle_wal_if_free(connection: apsw.Connection) -> bool:
    """Likewise, unless somebody writes, this connection itself perhaps; tells whether it was done."""
    if connection.in_transaction:
        return False
    try:
        with waiting_at_most(connection, 0):
            _settle(connection)
    except apsw.BusyError:
        return False
    return True


def _settle(connection: apsw.Connection) -> None:
    # After an orderly end there is no WAL, and nothing to be done.
    if _wal_bytes(connection):
        with write_transaction(connection):
            _write_wal_over_itself(connection)
        _sync_wal(connection)


def _sync_wal(connection: apsw.Connection) -> None:
    # Without the lock, because it may take long, and whoever appends meanwhile does no harm.
    with _wal(connection) as file:
        file.xSync(apsw.SQLITE_SYNC_FULL)


def _settle_with_next_commit(connection: apsw.Connection) -> None:
    connection.set_commit_hook(_Settling(connection), id=_Settling)


class _Settling:
    """Writes the WAL over itself before the first commit, which undoes its transaction if that fails."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._is_due = True

    def __call__(self) -> bool:
        if self._is_due:
            _write_wal_over_itself(self._connection)
            self._is_due = False
        return False


def _wal_bytes(connection: apsw.Connection) -> int:
    """Give the size of the WAL; 0 if there is none, as for a space in memory, whose WAL has no name."""
    try:
        return os.stat(connection.filename_wal).st_size  # noqa: PTH116 - the name is SQLite's
    except OSError:
        return 0


@contextmanager
def _wal(connection: apsw.Connection) -> Iterator[apsw.VFSFile]:
    # As if to be made: its name in the directory is synced with it.
    flags = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    file = apsw.VFSFile(connection.open_vfs, connection.filename_wal, [flags, 0])
    try:
        yield file
    finally:
        file.xClose()


def _content_of_wal(connection: apsw.Connection, pages: int) -> tuple[bytes, int, int]:
    """Give the salt of a WAL that has or had so many pages, up to where it holds them for sure, and where it ends at most.

    The file may be longer, by what was in it before. Behind what the WAL holds there may be what a transaction has left that
    failed.
    """
    if not _wal_bytes(connection):
        return b"", 0, 0
    with _wal(connection) as file:
        page_bytes, salt = _HEADER.unpack(file.xRead(_HEADER.size, 0))
        frame_bytes = _FRAME.size + page_bytes
        size = file.xFileSize()

        def has_frame(at: int) -> bool:
            return at + frame_bytes <= size and _FRAME.unpack(file.xRead(_FRAME.size, at)) == (salt,)

        end = _HEADER.size + pages * frame_bytes
        # Unless it has begun anew since.
        sure_end = end if has_frame(end - frame_bytes) else 0
        while has_frame(end):
            end += frame_bytes
    return salt, sure_end, min(end, size)


def _write_wal_over_itself(connection: apsw.Connection, begin: int = 0, end: int | None = None) -> None:
    """Write what the WAL holds in memory again, from one byte to another, so that the next sync has it on the disk.

    SQLite syncs the WAL before it moves it into the database. After a failed sync that syncs nothing: the kernel takes the
    pages for written. A power cut while the database is half written would then find no WAL to mend it with.
    """
    if not _wal_bytes(connection):
        return
    with _wal(connection) as file:
        end = file.xFileSize() if end is None else end
        for at in range(begin, end, WAL_CHUNK_BYTES):
            file.xWrite(file.xRead(min(WAL_CHUNK_BYTES, end - at), at), at)


def leave(connection: apsw.Connection) -> None:
    """Close a connection to a file of which nothing is known yet. What lies in its WAL stays there.

    Closed in order, the last one would move the WAL into the database, although it may not be on the disk.
    """
    if _wal_bytes(connection):
        abandon(connection)
    else:
        connection.close()


def abandon(connection: apsw.Connection) -> None:
    """Close a connection in doubt, writing nothing through it. What closing meets says nothing new."""
    with suppress(apsw.Error):
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    with suppress(apsw.Error):
        connection.close()
