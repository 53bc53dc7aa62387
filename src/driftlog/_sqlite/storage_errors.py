"""SQLite's errors told apart by whose doing they are."""

from types import TracebackType
from typing import Final

import apsw

from driftlog._sqlite.transactions import BUSY_TIMEOUT_MS
from driftlog.errors import Busy, Closed, Corrupt, DiskFull, DriftlogError, NotADriftlogFile, ReadOnly, StorageError

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


class storage_errors:  # noqa: N801 - it is used as a function; a class, because a generator would cost every append 2 µs
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
