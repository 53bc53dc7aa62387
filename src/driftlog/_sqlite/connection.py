"""Connections set up alike on every device, and SQLite's errors told apart by whose doing they are.

Says nothing about what is stored (`_store`, `relay`).
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Literal

import apsw

from driftlog.errors import Busy, Closed, Corrupt, DiskFull, DriftlogError, NotADriftlogFile, ReadOnly, StorageError

Durability = Literal["full", "relaxed"]

CACHE_KIB: Final = 64 * 1024
AUTOCHECKPOINT_BYTES: Final = 40 << 20
"""Of WAL between checkpoints: rarer ones cost less, larger ones make opening after a crash slower."""
WAL_CHUNK_BYTES: Final = 64 << 10
"""Of a WAL that is written over itself after a failure, at a time. SQLite's VFS takes its sizes modulo 128 KiB, and calls a
write of just that much a full disk."""
PAGE_BYTES: Final = 4096
"""SQLite's usual size of a page."""
BUSY_TIMEOUT_MS: Final = 10_000
"""Another process writes for milliseconds at a time; one that holds the lock for ten seconds is stuck, and is named."""
BUSY_POLL_MS: Final = 1
"""SQLite has no queue for its lock, and its own handler looks again only after 25 to 100 ms: behind another process's long
catch-up, which lets go of the lock for `space/engine.py`'s pause between two steps, it would wait for the end."""
SETTLING_MS: Final = 2_000
"""For who opens a file: longer than another takes who opens it, too, and writes its WAL anew; shorter than a rebuild."""
STATEMENTS_CACHED: Final = 512
"""A statement stays compiled if it is run again among so many others: the cache is a ring, and every run moves on in it.
It is looked through from the first on, so more would cost every run; fewer would let an app of many event types, when they
come in turn, compile each anew."""

ENVIRONMENT_ERRORS: Final = (
    apsw.FullError,
    apsw.IOError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.NoMemError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.CantOpenError,
    apsw.ReadOnlyError,
    apsw.ProtocolError,
    apsw.InterruptError,
    apsw.InternalError,
)
"""What the machine did, as opposed to what a statement asked for: aborts and may be retried, is never held against an
event. Python's own MemoryError is not among them: a materializer can ask for any amount."""


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
            connection.wal_autocheckpoint(AUTOCHECKPOINT_BYTES // page_bytes)
        else:
            connection.set_wal_hook(partial(_move_wal, AUTOCHECKPOINT_BYTES // page_bytes))


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


def _wait_for_another(tries: int) -> bool:
    """Wait for another process's lock, as SQLite's busy handler; False gives up."""
    time.sleep(BUSY_POLL_MS / 1000)
    return tries < BUSY_TIMEOUT_MS // BUSY_POLL_MS


def _opened(path: str, flags: int, vfs: str) -> apsw.Connection:
    connection = apsw.Connection(path, flags=flags, vfs=vfs or None, statementcachesize=STATEMENTS_CACHED)
    try:
        connection.set_busy_handler(_wait_for_another)
        # Nothing is read until the first statement: only now is it known whether the file and its WAL can be used.
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except BaseException:
        leave(connection)
        raise
    return connection


@contextmanager
def synced_to_disk(connection: apsw.Connection) -> Iterator[None]:
    """Let the transaction within survive a power cut, and with it all before it, even where durability is relaxed."""
    before = connection.pragma("synchronous")
    connection.pragma("synchronous", "full")
    try:
        yield
    finally:
        connection.pragma("synchronous", before)


def empty_wal(connection: apsw.Connection) -> None:
    """Write all that the WAL holds into the database, sync it there, and let the WAL begin anew from its start.

    What a failed sync left in memory only is so written again. Raises `apsw.BusyError` while others read older states.
    """
    # In a transaction, so that nobody else appends to the WAL, or begins it anew, meanwhile.
    with write_transaction(connection):
        _write_wal_over_itself(connection)
    if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]:
        raise apsw.BusyError("others are reading what the WAL holds")


def _move_wal(pages_max: int, connection: apsw.Connection, _database: str, pages: int) -> int:
    """Move the WAL into the database after a commit, once it is long; unless another process writes, or the disk fails.

    As SQLite itself does it, but that what a failed sync has left in memory is written again first: in relaxed durability
    nothing else has synced it, and a power cut while the database is half written would find no WAL to mend it with. So a
    failure is no matter: the WAL goes on growing, and the next commit tries again.
    """
    if pages >= pages_max:
        with suppress(*ENVIRONMENT_ERRORS):
            with _waiting_at_most(connection, 0), write_transaction(connection):
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
        with _waiting_at_most(connection, SETTLING_MS), write_transaction(connection):
            _write_wal_over_itself(connection)
    except (apsw.BusyError, apsw.ReadOnlyError):
        # Who writes for so long is past this itself, and has SQLite's index of the WAL, which never had what failed. And
        # where the WAL may not be written, nothing will be built on it.
        pass
    # Without the lock, because it may take long, and whoever appends meanwhile does no harm.
    with _wal(connection) as file:
        file.xSync(apsw.SQLITE_SYNC_FULL)


@contextmanager
def _waiting_at_most(connection: apsw.Connection, ms: int) -> Iterator[None]:
    connection.set_busy_handler(lambda tries: tries < ms // BUSY_POLL_MS and _wait_for_another(tries))
    try:
        yield
    finally:
        connection.set_busy_handler(_wait_for_another)


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


class write_transaction:  # noqa: N801 - it is used as a verb; a class, because a generator would cost every append 2 µs
    """Run a transaction that holds the write lock from its start. An error undoes all of it, and is passed on.

    Not apsw's `with connection`: a full disk makes SQLite roll back by itself, and rolling back what is gone would raise an
    error of its own in place of the one that matters.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


class read_transaction(write_transaction):  # noqa: N801 - likewise
    """Let all statements see one state of the file, whoever writes meanwhile, and hold no lock that others wait for.

    An I/O error ends it by itself: then there is nothing to roll back either.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        self._connection.execute("BEGIN")


class storage_errors:  # noqa: N801 - likewise
    """Turn what SQLite says of file and machine into Driftlog's errors, with the path and what to do."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        translated = _translated(self._path, error) if isinstance(error, apsw.Error) else None
        if translated is not None:
            raise translated from error


def _translated(path: str, error: apsw.Error) -> DriftlogError | None:
    match error:
        case apsw.FullError():
            return DiskFull(f"{path}: the disk is full; nothing was recorded. Free some room and try again")
        case apsw.BusyError() | apsw.LockedError():
            seconds = BUSY_TIMEOUT_MS // 1000
            return Busy(f"{path}: another process has been writing for {seconds} s; try again, or end that process")
        case apsw.ReadOnlyError():
            return ReadOnly(f"{path} cannot be written; check the permissions of the file and its directory")
        case apsw.NotADBError():
            return NotADriftlogFile(f"{path} is not an SQLite database; choose another path, it was left as it is")
        case apsw.CorruptError():
            return Corrupt(f"{path} is damaged: {error}; restore a backup, or join again from another device")
        case apsw.CantOpenError():
            return StorageError(
                f"{path} cannot be opened: {error}; check that its directory exists and is "
                "writable, with all files beside it, and that this process has not too many files open"
            )
        case apsw.NoMemError():
            return StorageError(f"{path}: out of memory; nothing was recorded")
        case apsw.ConnectionClosedError():
            return Closed(f"{path} was closed meanwhile; open it again with app.open(path)")
        case apsw.IOError() | apsw.ProtocolError() | apsw.InterruptError() | apsw.InternalError():
            return StorageError(
                f"{path}: {type(error).__name__}: {error}; the disk may fail. Nothing was recorded unless this process "
                "ends now; the next call opens the file anew and looks at it first"
            )
        case _:
            return None
