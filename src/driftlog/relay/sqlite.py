"""The shipped store: one SQLite file, for the one process of a relay and its successor."""

from dataclasses import dataclass

from driftlog._core.ids import Birthday
from driftlog.relay.reading import Reading
from driftlog.relay.writing import Writing


@dataclass(frozen=True, slots=True)
class SqliteStore:
    """The file at `path`, on the disk that the SQLite VFS of the name `vfs` stands for."""

    path: str
    vfs: str = ""

    def open_writer(self, birthday: Birthday, *, space_bytes_max: int) -> Writing:
        """Open to write, or make the file. Raises `UnusableFile` and `StorageError`."""
        return Writing(self.path, birthday=birthday, space_bytes_max=space_bytes_max, vfs=self.vfs)

    def open_reader(self) -> Reading:
        """Open to read."""
        return Reading(self.path, vfs=self.vfs)
