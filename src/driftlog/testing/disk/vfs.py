"""An SQLite VFS that writes a journal of what is done to the files of one directory, and lets faults speak first.

It passes everything on to the platform's own VFS, and so do WAL's shared memory and locks, which never reach Python. The
shared memory is not in the journal: it does not outlive its processes.
"""

import errno
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import apsw

from driftlog.testing.disk.faults import Fault, Kind
from driftlog.testing.disk.journal import (
    Created,
    Deleted,
    Journal,
    Marked,
    Synced,
    SyncedNames,
    SyncFailed,
    Truncated,
    Wrote,
)
from driftlog.testing.disk.replaying import Image, write_image

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

_SYNCS_DIRECTORY: Final = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
"""Files of these kinds have their directory synced with them, the first time after they were opened to be made."""
_IS_BESIDE: Final = "-device"
"""A space's key file, which is written without SQLite."""

_numbers = count()


class SimulatedDisk:
    """The files of one directory, for the length of a `with` block. One thread writes at a time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.journal: Journal = []
        self.faults: Fault | None = None
        self.vfs = f"driftlog-{os.getpid()}-{next(_numbers)}"
        """The name to open connections with."""
        self._beside: set[str] = set()
        self._found_beside: dict[str, bytes] = {}

    def mark(self, note: object) -> None:
        """Note something in the journal."""
        self._look_beside()
        self.journal.append(Marked(note))

    def hold(self, image: Image) -> None:
        """Let these be the files, and all of them synced; the journal begins anew. Nobody may have one open."""
        write_image(image, self.directory)
        self.journal.clear()
        for name, content in image.items():
            self.journal += [Created(name), Wrote(name, 0, content), Synced(name, is_directory_too=True)]
        self._found_beside = {str(self.directory / name): image[name] for name in image if name.endswith(_IS_BESIDE)}

    def __enter__(self) -> Self:
        self._vfs = _Vfs(self)
        self._system_sync = os.fsync
        os.fsync = self._sync
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.fsync = self._system_sync
        self._vfs.unregister()

    def _ask(self, kind: Kind, file: str, size: int = 0) -> None:
        """Let faults speak before a change, which in the journal must not come before a key file that has appeared."""
        if self._beside:
            self._look_beside()
        if self.faults is not None:
            self.faults(kind, file, size)

    def _await_beside(self, database: str) -> None:
        self._beside |= {database + _IS_BESIDE} - self._found_beside.keys()

    def _beside_all(self) -> Iterator[Path]:
        return map(Path, self._beside | self._found_beside.keys())

    def _look_beside(self) -> None:
        """Put a key file that has appeared into the journal, before what is done next."""
        # Of a relay's database none ever does, and this is asked of every change to it.
        for path in [path for path in self._beside if os.path.exists(path)]:  # noqa: PTH110 - a Path costs more than it
            self._beside.remove(path)
            name = os.path.basename(path)  # noqa: PTH119 - likewise
            self._found_beside[path] = content = Path(path).read_bytes()
            self.journal += [Created(name), Wrote(name, 0, content)]

    def _sync(self, fd: "FileDescriptorLike") -> None:
        """Stand in for `os.fsync`, by which a key file and its directory are synced, and take note of that."""
        synced = os.fstat(fd if isinstance(fd, int) else fd.fileno())
        is_directory = os.path.samestat(synced, self.directory.stat())
        if is_directory or any(path.exists() and os.path.samestat(synced, path.stat()) for path in self._beside_all()):
            try:
                self._ask("sync", _IS_BESIDE)
            except apsw.Error as error:
                code = errno.ENOSPC if isinstance(error, apsw.FullError) else errno.EIO
                raise OSError(code, os.strerror(code)) from error
        self._system_sync(fd)
        self._look_beside()
        if is_directory:
            self.journal.append(SyncedNames())
        for name, before in self._found_beside.items():
            path = Path(name)
            if path.exists() and os.path.samestat(synced, path.stat()):
                content = path.read_bytes()
                if content != before:
                    # Another one in its place. All have one size.
                    self._found_beside[name] = content
                    self.journal.append(Wrote(path.name, 0, content))
                self.journal.append(Synced(path.name, False))


class _Vfs(apsw.VFS):
    def __init__(self, disk: SimulatedDisk) -> None:
        super().__init__(disk.vfs, "")
        self._disk = disk

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> "_File":  # noqa: N802 - SQLite's name
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is not None:
            self._disk._ask("open", os.path.basename(path))  # noqa: PTH119 - of every operation: a Path costs more than it
        is_new = path is not None and not os.path.exists(path)  # noqa: PTH110 - likewise
        asked = flags[0]
        file = _File(self._disk, name, path, flags)
        if is_new and path is not None:
            self._disk.journal.append(Created(file.name))
        # As SQLite's own: whoever opens such a file so that it is made if need be syncs its name, though another made it.
        may_make = bool(asked & apsw.SQLITE_OPEN_CREATE)
        file.is_directory_unsynced = path is not None and may_make and bool(asked & _SYNCS_DIRECTORY)
        if path is not None and flags[0] & apsw.SQLITE_OPEN_MAIN_DB:
            self._disk._await_beside(path)
        return file

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        name = os.path.basename(filename)  # noqa: PTH119
        self._disk._ask("delete", name)
        is_there = os.path.exists(filename)  # noqa: PTH110
        super().xDelete(filename, syncdir)
        if is_there:
            self._disk.journal.append(Deleted(name, syncdir))


class _File(apsw.VFSFile):
    def __init__(
        self, disk: SimulatedDisk, name: str | apsw.URIFilename | None, path: str | None, flags: list[int]
    ) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self.name = os.path.basename(path or "")  # noqa: PTH119
        self.is_directory_unsynced = False

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        # Not in the journal, so nothing else needs be there first; and files are read more often than all else is done.
        if self._disk.faults is not None:
            self._disk.faults("read", self.name, amount)
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk._ask("write", self.name, len(data))
        super().xWrite(data, offset)
        if self.name:
            self._disk.journal.append(Wrote(self.name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk._ask("truncate", self.name)
        super().xTruncate(newsize)
        if self.name:
            self._disk.journal.append(Truncated(self.name, newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802
        try:
            self._disk._ask("sync", self.name)
        except apsw.Error:
            self._disk.journal.append(SyncFailed(self.name))
            raise
        super().xSync(flags)
        if self.name:
            self._disk.journal.append(Synced(self.name, self.is_directory_unsynced))
            self.is_directory_unsynced = False

    def xFileSize(self) -> int:  # noqa: N802
        if self._disk.faults is not None:
            self._disk.faults("size", self.name, 0)
        return super().xFileSize()
