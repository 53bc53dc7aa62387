"""Whether an open file is still the one at its path.

SQLite goes on with a file that was deleted, moved, or replaced by another, as where a backup is put back, or a repair could
not write over it. Nobody would find again what is then appended, and live queries would show what is no more. So whoever
writes looks first, and who waits for other processes' writes looks too; once one of them has found it gone, nobody reads it
either, for as long as it is. By the file's number, as SQLite does it where it keeps a journal beside the file; in WAL mode
it does not look. Who writes again and again looks ten times a second, so that not every append has to ask the system.

The WAL stays at the path. It holds what the moved file lacks, and would be played over whatever file is there when that is
opened. So it is emptied into the file that it belongs to.

Where a VFS stands for the disk, a name is nothing that the system knows, and nobody looks; nor on Windows, where an open
file stays where it is, and a look would have to open it. Not noticed: a symbolic link that leads elsewhere by now.
"""

import os
import time
from collections.abc import Callable
from typing import Final

from driftlog.errors import StorageError

LOOK_SECONDS: Final = 0.1
"""Between two looks of who writes again and again."""


class Whereabouts:
    """Where one file was when it was opened."""

    def __init__(self, path: str, name: str, empty_wal: Callable[[], None]) -> None:
        """`path` is for words, `name` what to look at: empty if there is nothing to be looked at."""
        self._path = path
        self._name = "" if os.name == "nt" else name
        self._empty_wal = empty_wal
        self._number: int | None = None
        self._number = self._look()
        if self._number is None:
            # It was opened, so it is there: who cannot tell now does not look later either.
            self._name = ""
        self._next_look = 0.0
        self.is_gone = False
        """Whether the last look has not found it."""

    def check_if_gone(self) -> None:
        """Raise if the file was not there when it was looked at last, and is not there now."""
        if self.is_gone:
            self.check()

    def check_now_and_then(self) -> None:
        """Raise if the file was not there any more when it was looked at, at most `LOOK_SECONDS` ago."""
        now = time.monotonic()
        if now >= self._next_look:
            self.check()
            self._next_look = now + LOOK_SECONDS

    def check(self) -> None:
        """Raise if the file is not there any more, and bring what its WAL holds where it belongs."""
        was_gone = self.is_gone
        if self.is_there():
            return
        if not was_gone:
            self._empty_wal()
        if self._look() is None:
            raise StorageError(
                f"{self._path} was moved or deleted while it was open; nothing was recorded. Put it back before anything "
                "opens this path, which would found a new space there; or close this one and open the file where it is, "
                "with its -device file beside it"
            )
        raise StorageError(
            f"{self._path} was replaced by another file while it was open; nothing was recorded. Close the space and open "
            "it again, or put the file back"
        )

    def is_there(self) -> bool:
        """Look, and tell whether it is there."""
        self.is_gone = self._look() != self._number
        return not self.is_gone

    def _look(self) -> int | None:
        # Not by pathlib, which costs as much again.
        try:
            return os.stat(self._name).st_ino if self._name else None  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            # It cannot be told. What is the matter, reading and writing will meet.
            return self._number
