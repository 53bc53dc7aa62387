"""Whether an open file is still the one at its path.

SQLite goes on with a file that was deleted, moved, or replaced by another, as where a backup is put back, or a repair could
not write over it. Nobody would find again what is then appended, and live queries would show what is no more. So whoever
writes looks first, and who waits for other processes' writes looks too. By the file's number, as SQLite does it where it
keeps a journal beside the file; in WAL mode it does not look. Who writes again and again looks ten times a second: a look at
every append would take a twentieth of its time.

Where a VFS stands for the disk, a name is nothing that the system knows, and nobody looks; nor on Windows, where an open
file stays where it is, and a look would have to open it.
"""

import os
import time
from typing import Final

from driftlog.errors import StorageError

LOOK_SECONDS: Final = 0.1
"""Between two looks of who writes again and again."""


class Place:
    """Where one file was when it was opened."""

    def __init__(self, path: str, name: str) -> None:
        """`path` is for words, `name` what to look at: empty if there is nothing to be looked at."""
        self._path = path
        self._name = "" if os.name == "nt" else name
        self._number = self._look()
        self._next_look = 0.0

    def check_now_and_then(self) -> None:
        """Raise if the file was not there any more when it was looked at, at most `LOOK_SECONDS` ago."""
        now = time.monotonic()
        if now >= self._next_look:
            self.check()
            self._next_look = now + LOOK_SECONDS

    def check(self) -> None:
        """Raise if the file is not there any more."""
        if self._look() != self._number:
            raise StorageError(
                f"{self._path} is not the file that was opened: it was moved, deleted or replaced meanwhile; nothing was "
                "recorded. Close the space and open it again, or put the file back"
            )

    def _look(self) -> int | None:
        # Not by pathlib, which costs as much again.
        try:
            return os.stat(self._name).st_ino if self._name else None  # noqa: PTH116
        except OSError:
            return None
