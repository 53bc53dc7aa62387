"""Faults for a simulated disk: asked before each operation, they raise what SQLite says of a disk that fails or is full.

apsw passes them on as Python's errors even where SQLite does without what failed, as when it moves the WAL after a commit
that succeeded. The engine moves its own, and passes over what fails there; of another connection, switch autocheckpoint off.
"""

from collections.abc import Callable
from typing import Final, Literal

import apsw

Kind = Literal["open", "read", "write", "sync", "truncate", "delete", "size"]

Fault = Callable[[Kind, str, int], None]
"""Told what is about to be done, to which file and with how many bytes; raises to let it fail."""

_CODES: Final[dict[Kind, int]] = {
    "open": apsw.SQLITE_CANTOPEN,
    "read": apsw.SQLITE_IOERR_READ,
    "write": apsw.SQLITE_IOERR_WRITE,
    "sync": apsw.SQLITE_IOERR_FSYNC,
    "truncate": apsw.SQLITE_IOERR_TRUNCATE,
    "delete": apsw.SQLITE_IOERR_DELETE,
    "size": apsw.SQLITE_IOERR_FSTAT,
}


def io_error(kind: Kind) -> apsw.Error:
    """Give the error that SQLite has for an operation of this kind that failed."""
    error = apsw.exception_for(_CODES[kind])
    assert isinstance(error, apsw.Error)
    return error


class OneFault:
    """Let the operation with a number fail, counting those of the given kinds from 1, and all after it if it `lasts`."""

    def __init__(self, number: int, *kinds: Kind, lasts: bool = False) -> None:
        self.count = 0
        self.failed: list[tuple[Kind, str]] = []
        self._number = number
        self._kinds = kinds
        self._lasts = lasts

    def __call__(self, kind: Kind, file: str, _size: int, /) -> None:
        """Count, and fail in turn."""
        if kind in self._kinds or not self._kinds:
            self.count += 1
            if self.count == self._number or (self._lasts and self.count > self._number):
                self.failed.append((kind, file))
                raise io_error(kind)


class Room:
    """Let writes fail once so many bytes have been written; what a file system had overwritten in place counts too."""

    def __init__(self, left_bytes: int) -> None:
        self.left_bytes = left_bytes

    def __call__(self, kind: Kind, _file: str, size: int, /) -> None:
        """Count, and say that the disk is full."""
        if kind == "write":
            if size > self.left_bytes:
                raise apsw.FullError("no room is left on the simulated disk")
            self.left_bytes -= size
