"""Care of the write-ahead log: what it holds is on the disk before anything is built on it, or moved from it.

A sync that fails leaves pages in the kernel's memory that count as written, and that no later sync will write. So whoever
takes over what others have left, or moves what nobody has synced, writes the WAL over itself first.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

import apsw

from driftlog._sqlite.storage_errors import ENVIRONMENT_ERRORS
from driftlog._sqlite.transactions import waiting_at_most, write_transaction

AUTOCHECKPOINT_BYTES: Final = 40 << 20
"""Of WAL between checkpoints: rarer ones cost less, larger ones make opening after a crash slower."""
WAL_CHUNK_BYTES: Final = 64 << 10
"""Of a WAL that is written over itself after a failure, at a time. SQLite's VFS takes its sizes modulo 128 KiB, and calls a
write of just that much a full disk."""
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


def move_wal_when_long(connection: apsw.Connection, page_bytes: int) -> None:
    """Have this connection move the WAL after a commit that has made it long."""
    connection.set_wal_hook(partial(_move_wal, AUTOCHECKPOINT_BYTES // page_bytes))


def _move_wal(pages_max: int, connection: apsw.Connection, _database: str, pages: int) -> int:
    """Move the WAL into the database after a commit, once it is long; unless another process writes, or the disk fails.

    As SQLite itself does it, but that what a failed sync has left in memory is written again first: in relaxed durability
    nothing else has synced it, and a power cut while the database is half written would find no WAL to mend it with. So a
    failure is no matter: the WAL goes on growing, and the next commit tries again.
    """
    if pages >= pages_max:
        with suppress(*ENVIRONMENT_ERRORS):
            with waiting_at_most(connection, 0), write_transaction(connection):
                _write_wal_over_itself(connection)
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    return apsw.SQLITE_OK


def settle_wal(connection: apsw.Connection) -> None:
    """Have on the disk what a process has left in the WAL that died before it was synced, or after a sync had failed.

    SQLite takes such a transaction for committed as soon as it can read it, and syncs it with the next one only; after a
    failed sync, never. Meanwhile what it holds could be shown, handed on or acknowledged again, and what others write after
    it in the WAL be acknowledged, and all of it still be lost when power goes.
    """
    # After an orderly end there is no WAL, and nothing to be done.
    if not _wal_bytes(connection):
        return
    try:
        with waiting_at_most(connection, SETTLING_MS), write_transaction(connection):
            _write_wal_over_itself(connection)
    except (apsw.BusyError, apsw.ReadOnlyError):
        # Who writes for so long is past this itself, and has SQLite's index of the WAL, which never had what failed. And
        # where the WAL may not be written, nothing will be built on it.
        pass
    # Without the lock, because it may take long, and whoever appends meanwhile does no harm.
    with _wal(connection) as file:
        file.xSync(apsw.SQLITE_SYNC_FULL)


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


def _write_wal_over_itself(connection: apsw.Connection) -> None:
    """Write what the WAL holds in memory again, so that the next sync has it on the disk.

    SQLite syncs the WAL before it moves it into the database. After a failed sync that syncs nothing: the kernel takes the
    pages for written. A power cut while the database is half written would then find no WAL to mend it with.
    """
    if not _wal_bytes(connection):
        return
    with _wal(connection) as file:
        size = file.xFileSize()
        for at in range(0, size, WAL_CHUNK_BYTES):
            file.xWrite(file.xRead(min(WAL_CHUNK_BYTES, size - at), at), at)


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
