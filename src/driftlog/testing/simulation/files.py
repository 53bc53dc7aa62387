"""The disk of a simulated world: a directory of plain files, preferably in memory, whose content can be taken and put.

This is the whole of what the rest asks of a disk, so that one with faults of its own can take its place.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

_IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a directory of our own is made in it
_KEPT: Final = ("", "-wal", "-device")
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

    def path(self, name: str) -> Path:
        """Give where the database of a name is."""
        return self._root / name

    def take(self, name: str) -> Image:
        """Give the files of a database as they are, whoever has them open."""
        found = {end: self._root / f"{name}{end}" for end in _KEPT}
        return Image({end: path.read_bytes() for end, path in found.items() if path.exists()})

    def put(self, name: str, image: Image) -> None:
        """Make a database's files what an image says. Nobody may have them open."""
        self.remove(name)
        for end, data in image.content.items():
            (self._root / f"{name}{end}").write_bytes(data)

    def remove(self, name: str) -> None:
        """Lose a database's files."""
        for end in _GONE:
            (self._root / f"{name}{end}").unlink(missing_ok=True)

    def close(self) -> None:
        """Remove everything."""
        self._folder.cleanup()
