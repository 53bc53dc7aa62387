"""What is done to a disk's files, one value for each thing done. Files are called by their names within one directory."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Created:
    """A file's name came into the directory."""

    file: str


@dataclass(frozen=True, slots=True)
class Wrote:
    """Bytes were written at an offset. Nothing says that they are on the disk before the file is synced."""

    file: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncated:
    """A file was cut to a size."""

    file: str
    size: int


@dataclass(frozen=True, slots=True)
class Synced:
    """What was written to a file so far is on the disk, and if `is_directory_too`, so are the names of all files."""

    file: str
    is_directory_too: bool


@dataclass(frozen=True, slots=True)
class SyncedNames:
    """The directory was synced by itself: the names of all files are on the disk, whatever of their content is."""


@dataclass(frozen=True, slots=True)
class SyncFailed:
    """A sync of a file failed, and what it was to write counts as written all the same: no later sync will write it."""

    file: str


@dataclass(frozen=True, slots=True)
class Deleted:
    """A file's name left the directory; if `is_synced`, that is on the disk too."""

    file: str
    is_synced: bool


@dataclass(frozen=True, slots=True)
class Marked:
    """Nothing was done to a file: whoever uses the disk noted something here, such as what was acknowledged."""

    note: object


Operation = Created | Wrote | Truncated | Synced | SyncedNames | SyncFailed | Deleted | Marked
Journal = list[Operation]
