"""The disks of a simulated world: a directory of plain files, preferably in memory, whose content can be taken and put.

This is the whole of what the rest asks of a disk. Some databases are on a drive, which has faults of its own (`drive`).
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from driftlog.testing.simulation.drive import Drive

_IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a directory of our own is made in it
_KEPT: Final = ("", "-wal", "-journal", "-device")
_GONE: Final = (*_KEPT, "-shm")
"""SQLite's shared memory is nobody's any more once its processes are dead."""


def close_without_care(connection: apsw.Connection) -> None:
    """Have SQLite leave the WAL as it is when this connection is closed, as when a process dies."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


@dataclass(frozen=True, slots=True)
class Image:
    """What a database's files hold, by the end of their names."""

    content: dict[str, bytes]


class Disk:
    """The files of one world. Use it in a `with` block."""

    def __init__(self) -> None:
        base = _IN_MEMORY if _IN_MEMORY.is_dir() else None
        self._folder = tempfile.TemporaryDirectory(prefix="driftlog-simulation-", dir=base)
        self._root = Path(self._folder.name)
        self._drives: dict[str, Drive] = {}
        self._open = ExitStack()

    def give_drive(self, name: str, is_asked: Callable[[], bool]) -> Drive:
        """Put a database, which is not there yet, on a drive. `is_asked` says whether it is its owner who uses it now."""
        directory = self._root / f"{name}.drive"
        directory.mkdir()
        drive = self._drives[name] = Drive(directory, is_asked)
        self._open.enter_context(drive.disk)
        return drive

    def drive(self, name: str) -> Drive | None:
        """Give the drive that a database is on, None if it is a plain file."""
        return self._drives.get(name)

    def drives(self) -> list[Drive]:
        """Give all drives."""
        return list(self._drives.values())

    def vfs(self, name: str) -> str:
        """Give the VFS that a database is to be opened with."""
        drive = self._drives.get(name)
        return "" if drive is None else drive.disk.vfs

    def path(self, name: str) -> Path:
        """Give where the database of a name is."""
        drive = self._drives.get(name)
        return (self._root if drive is None else drive.disk.directory) / name

    def take(self, name: str) -> Image:
        """Give the files of a database as they are, whoever has them open."""
        path = self.path(name)
        found = {end: path.with_name(f"{name}{end}") for end in _KEPT}
        return Image({end: path.read_bytes() for end, path in found.items() if path.exists()})

    def put(self, name: str, image: Image) -> None:
        """Make a database's files what an image says. Nobody may have them open."""
        drive = self._drives.get(name)
        if drive is not None:
            drive.hold({f"{name}{end}": data for end, data in image.content.items()})
            return
        self.remove(name)
        for end, data in image.content.items():
            (self._root / f"{name}{end}").write_bytes(data)

    def overwrite(self, name: str, image: Image) -> None:
        """Make a database's files what an image of the same sizes says, under whoever has them open."""
        path = self.path(name)
        for end, data in image.content.items():
            with path.with_name(f"{name}{end}").open("r+b") as file:
                file.write(data)

    @contextmanager
    def kept(self, name: str) -> Iterator[None]:
        """Have within whoever uses a database's files let go of them, and leave them as they were, or as a cut left them."""
        drive = self._drives.get(name)
        if drive is not None:
            drive.stop()
            yield
            drive.go_on()
            return
        image = self.take(name)
        yield
        self.put(name, image)

    def remove(self, name: str) -> None:
        """Lose a database's files."""
        drive = self._drives.get(name)
        if drive is not None:
            drive.hold({})
            return
        for end in _GONE:
            (self._root / f"{name}{end}").unlink(missing_ok=True)

    def close(self) -> None:
        """Remove everything."""
        self._open.close()
        self._folder.cleanup()
