"""From a journal to the files that a power cut may leave: pure, seeded, and once over the journal for all its cuts.

A disk writes sectors, whole, in any order. So after a cut each sector is as some moment since the file's last sync left
it, whatever became of the others: writes are kept, dropped, torn at sectors' borders and reordered. A file's size is chosen
alike, and so is each name in the directory since that was last synced. A sector never written in a file that has grown is
zeros.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, assert_never

from driftlog.testing.disk.journal import (
    Created,
    Deleted,
    Journal,
    Marked,
    Operation,
    Synced,
    SyncedNames,
    SyncFailed,
    Truncated,
    Wrote,
)

SECTOR_BYTES: Final = 512
"""The least that a disk writes as a whole; SQLite counts on that much and no more."""

Image = Mapping[str, bytes]
"""What the files hold, by name."""

Choice = Callable[[int], int]
"""Of so many states, the first being the synced one and the last the newest, which is there after the cut."""


def KEPT(count: int) -> int:  # noqa: N802 - a constant that happens to be a function
    """Keep all that was written, as when the process is killed and the machine goes on."""
    return count - 1


def SYNCED(_: int) -> int:  # noqa: N802 - likewise
    """Keep what was synced and nothing else."""
    return 0


def power_cut(seed: int) -> Choice:
    """Choose by chance; the seed also draws how much of it: from nearly all kept to nearly all lost."""
    rng = random.Random(seed)  # noqa: S311 - chance that can be had again, not a secret
    kept = rng.choice((0.02, 0.3, 0.5, 0.7, 0.9, 0.98))

    def choose(count: int) -> int:
        if count == 1:
            return 0
        return count - 1 if rng.random() < kept else rng.randrange(count)

    return choose


class _File:
    """A file's content as programs see it, as it was last synced, and all the states that its parts had since.

    Sectors that a failed sync was to write are `forgotten`: until they are written again, no sync brings them to the disk.
    """

    __slots__ = ("content", "forgotten", "sectors", "sizes", "synced")

    def __init__(self) -> None:
        self.content = bytearray()
        self.synced = bytearray()
        self.sectors: dict[int, list[bytes]] = {}
        self.forgotten: set[int] = set()
        self.sizes = [0]

    def write(self, offset: int, data: bytes) -> None:
        end = offset + len(data)
        if end > len(self.content):
            self.content.extend(bytes(end - len(self.content)))
            self.sizes.append(end)
        self.content[offset:end] = data
        self._note(offset, end)

    def truncate(self, size: int) -> None:
        before = len(self.content)
        if size > before:
            self.content.extend(bytes(size - before))
        del self.content[size:]
        self.sizes.append(size)
        self._note(min(size, before), max(size, before))

    def sync(self) -> None:
        size = len(self.content)
        del self.synced[size:]
        self.synced.extend(bytes(size - len(self.synced)))
        for number in self.sectors:
            if number not in self.forgotten:
                at = slice(number * SECTOR_BYTES, min((number + 1) * SECTOR_BYTES, size))
                self.synced[at] = self.content[at]
        self.sectors = {number: states for number, states in self.sectors.items() if number in self.forgotten}
        self.sizes = [size]

    def fail_to_sync(self) -> None:
        self.forgotten |= self.sectors.keys()

    def _note(self, begin: int, end: int) -> None:
        for number in range(begin // SECTOR_BYTES, -(-end // SECTOR_BYTES)):
            at = slice(number * SECTOR_BYTES, (number + 1) * SECTOR_BYTES)
            states = self.sectors.get(number)
            if states is None:
                states = self.sectors[number] = [bytes(self.synced[at])]
            states.append(bytes(self.content[at]))
            self.forgotten.discard(number)

    def image(self, choose: Choice) -> bytes:
        size = self.sizes[choose(len(self.sizes))]
        image = bytearray(self.synced[:size])
        image.extend(bytes(size - len(image)))
        for number, states in self.sectors.items():
            state = states[choose(len(states))]
            begin = number * SECTOR_BYTES
            if begin < size:
                end = min(begin + SECTOR_BYTES, size)
                image[begin:end] = state[: end - begin].ljust(end - begin, b"\0")
        return bytes(image)


@dataclass(slots=True)
class Cut:
    """The disk right after an operation of its journal, for `image` to say what is found there after a power cut.

    It moves on with the iteration that gave it: take images before asking for the next one.
    """

    number: int
    """How many operations had been done."""
    operation: Operation | None
    marks: tuple[object, ...]
    """What had been noted by then."""
    _names: dict[str, list[_File | None]]

    def image(self, choose: Choice) -> Image:
        """Give the files after a cut here."""
        image: dict[str, bytes] = {}
        for name, states in self._names.items():
            file = states[choose(len(states))]
            if file is not None:
                image[name] = file.image(choose)
        return image


def cuts(journal: Journal, *, lies: Callable[[Synced, int], bool] = lambda _, __: False) -> Iterator[Cut]:
    """Give a cut before the first operation and after each one; notes only count towards those that follow them.

    `lies(operation, number)` tells of a sync whether the disk only said that it was done.
    """
    names: dict[str, list[_File | None]] = {}
    marks: list[object] = []
    yield Cut(0, None, (), names)
    for number, operation in enumerate(journal, 1):
        if isinstance(operation, Marked):
            marks.append(operation.note)
        elif not (isinstance(operation, Synced) and lies(operation, number)):
            _perform(names, operation)
        yield Cut(number, operation, tuple(marks), names)


def _perform(
    names: dict[str, list[_File | None]],
    operation: Created | Wrote | Truncated | Synced | SyncedNames | SyncFailed | Deleted,
) -> None:
    match operation:
        case Created(name):
            names.setdefault(name, [None]).append(_File())
        case Wrote(name, offset, data):
            _file(names, name).write(offset, data)
        case Truncated(name, size):
            _file(names, name).truncate(size)
        case Synced(name, is_directory_too):
            _file(names, name).sync()
            if is_directory_too:
                _sync_names(names)
        case SyncedNames():
            _sync_names(names)
        case SyncFailed(name):
            _file(names, name).fail_to_sync()
        case Deleted(name, is_synced):
            names[name].append(None)
            if is_synced:
                _sync_names(names)
        case _:
            assert_never(operation)


def _file(names: dict[str, list[_File | None]], name: str) -> _File:
    file = names[name][-1]
    assert file is not None, f"{name} is used after it was deleted"
    return file


def _sync_names(names: dict[str, list[_File | None]]) -> None:
    for name, states in names.items():
        names[name] = states[-1:]


def write_image(image: Image, directory: Path) -> None:
    """Make these the files of a directory, and its only ones."""
    for path in directory.iterdir():
        if path.name not in image:
            path.unlink()
    for name, content in image.items():
        (directory / name).write_bytes(content)
