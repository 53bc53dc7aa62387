"""Connections set up alike on every device. Says nothing about what is stored (`_store`, `relay`)."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import apsw

from driftlog._sqlite.transactions import wait_for_another
from driftlog._sqlite.wal import WAL_BYTES, leave, move_wal_when_long, settle_wal

Durability = Literal["full", "relaxed"]

CACHE_KIB: Final = 64 * 1024
PAGE_BYTES: Final = 4096
"""SQLite's usual size of a page."""
STATEMENTS_CACHED: Final = 512
"""A statement stays compiled if it is run again among so many others: the cache is a ring, and every run moves on in it.
It is looked through from the first on, so more would cost every run; fewer would let an app of many event types, when they
come in turn, compile each anew."""


def _nothing(_: apsw.Connection) -> None:
    pass


def connect(
    path: str | Path,
    *,
    durability: Durability = "full",
    is_read_only: bool = False,
    page_bytes: int = PAGE_BYTES,
    vfs: str = "",
    may_be_immutable: bool = False,
    identify: Callable[[apsw.Connection], object] = _nothing,
) -> apsw.Connection:
    """Open a connection with Driftlog's settings. `:memory:` is allowed; a file that cannot be written is opened so.

    `full` syncs the WAL at every commit; `relaxed` at checkpoints only, and may lose a suffix in a power cut. `page_bytes`
    is for a file that is new. `vfs` names the SQLite VFS that stands for the disk, the platform's own if it is empty.
    With `may_be_immutable`, a file that cannot be opened as usual is read as one that nobody writes, where permissions
    forbid to write it: for the first connection to it only, because one beside another that writes would never see a change.
    `identify` may refuse the file by raising: it is asked before anything is set, because making a stranger's file a WAL
    database would change it.
    """
    flags = apsw.SQLITE_OPEN_READONLY if is_read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    connection = (_open if may_be_immutable else _opened)(str(path), flags, vfs)
    try:
        identify(connection)
        _configure(connection, durability, page_bytes, is_read_only=is_read_only)
        if not connection.readonly("main"):
            settle_wal(connection)
    except BaseException:
        leave(connection)
        raise
    return connection


def _configure(connection: apsw.Connection, durability: Durability, page_bytes: int, *, is_read_only: bool) -> None:
    # Savepoints would otherwise spill their undo pages to a file in /tmp: 30 µs an event instead of 2.
    connection.pragma("temp_store", "memory")
    connection.pragma("cache_size", -CACHE_KIB)
    connection.pragma("mmap_size", 0)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    # A misspelt "column" in double quotes would otherwise quietly be a string.
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
    # One plan for a statement, whatever is bound to it. Beside a partial index SQLite would otherwise compile it again for
    # every value, in case the value says that the index may be used: 30 to 50 µs each time.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    if not is_read_only and not connection.readonly("main"):
        # Of a file that has pages already, this changes nothing.
        connection.pragma("page_size", page_bytes)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full" if durability == "full" else "normal")
        if durability == "full":
            connection.wal_autocheckpoint(WAL_BYTES // page_bytes)
        else:
            move_wal_when_long(connection, WAL_BYTES // page_bytes)


def _open(path: str, flags: int, vfs: str) -> apsw.Connection:
    try:
        return _opened(path, flags, vfs)
    except (apsw.CantOpenError, apsw.ReadOnlyError):
        # A WAL database needs a writable directory even to be read, unless SQLite is told that nobody else is there.
        # That is only true of the content if the WAL holds nothing that was not yet moved into the database.
        wal = Path(path + "-wal")
        if not Path(path).exists() or (wal.exists() and wal.stat().st_size > 0):
            raise
        if _may_be_written(path):
            # Something else was the matter, and may be over when it is tried again: too many open files, or a failing
            # disk. Who read the file as one that nobody writes would go on so, and not see what others write.
            raise
        uri = f"{Path(path).absolute().as_uri()}?immutable=1"
        return _opened(uri, apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI, vfs)


def _may_be_written(path: str) -> bool:
    """Tell whether permissions let this process write a database: its directory, its file and those beside it."""
    names = [os.fspath(Path(path).absolute().parent), path, path + "-wal", path + "-shm"]
    return all(os.access(name, os.W_OK) for name in names if Path(name).exists())


def _opened(path: str, flags: int, vfs: str) -> apsw.Connection:
    connection = apsw.Connection(path, flags=flags, vfs=vfs or None, statementcachesize=STATEMENTS_CACHED)
    try:
        connection.set_busy_handler(wait_for_another)
        # Nothing is read until the first statement: only now is it known whether the file and its WAL can be used.
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except BaseException:
        leave(connection)
        raise
    return connection
