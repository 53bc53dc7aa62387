"""Live queries, and the space that has them, on a disk that fails for a moment: wrong once at most, and not for ever."""

from collections.abc import Iterator
from pathlib import Path
from threading import enumerate as all_threads

import pytest

from driftlog import Space
from driftlog.errors import Closed, StorageError
from driftlog.testing.disk import OneFault, SimulatedDisk
from driftlog.testing.disk.faults import Kind, io_error
from tests.todo_app import TodoAdded, todo_app

COUNT = "SELECT count(*) FROM todo"


class Failing:
    """A disk that fails once with each kind of operation, in this order."""

    def __init__(self, *kinds: Kind) -> None:
        self.left = list(kinds)

    def __call__(self, kind: Kind, _file: str, _size: int, /) -> None:
        if self.left[:1] == [kind]:
            raise io_error(self.left.pop(0))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SimulatedDisk]:
    with SimulatedDisk(tmp_path) as disk:
        yield disk


@pytest.fixture
def space(disk: SimulatedDisk) -> Iterator[Space]:
    """A space whose WAL is empty: only such a file could be taken for one that nobody writes."""
    with todo_app().open(disk.directory / "a.db", vfs=disk.vfs) as space:
        space._engine._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        yield space


def test_a_subscription_whose_file_could_not_be_opened_once_is_told_what_is_written_later(
    space: Space, disk: SimulatedDisk
) -> None:
    told: list[object] = []
    failed: list[Exception] = []
    disk.faults = Failing("open")

    space.subscribe(COUNT, lambda answer: told.append(answer[0][0]), on_error=failed.append)
    space.append(TodoAdded(id="1", text="a"))
    space.append(TodoAdded(id="2", text="b"))

    assert [type(error) for error in failed] == [StorageError]
    assert told == [1, 2]


def test_a_file_that_could_not_be_opened_anew_once_can_be_written_when_it_can(
    space: Space, disk: SimulatedDisk
) -> None:
    disk.faults = fault = Failing("write", "open")

    for _ in range(2):
        with pytest.raises(StorageError):
            space.append(TodoAdded(id="1", text="a"))
    assert fault.left == []

    space.append(TodoAdded(id="1", text="a"))
    assert space.query(COUNT) == [(1,)]


def test_a_space_that_opens_beside_a_failing_disk_reads_what_it_writes(disk: SimulatedDisk) -> None:
    path = disk.directory / "a.db"
    with todo_app().open(path, vfs=disk.vfs):
        pass
    opened = 0
    for number in range(1, 12):
        disk.faults = OneFault(number, "open")
        try:
            space = todo_app().open(path, vfs=disk.vfs)
        except StorageError:
            continue
        finally:
            disk.faults = None
        with space:
            if not space._engine.is_read_only:
                opened += 1
                space.append(TodoAdded(id=str(number), text="x"))
                assert space.query("SELECT id FROM todo WHERE id = ?", (str(number),))
    assert opened


@pytest.mark.parametrize("kind", ["read", "write", "sync", "truncate", "delete", "size"])
def test_a_space_that_is_closed_while_the_disk_fails_is_closed_and_says_so(kind: Kind, disk: SimulatedDisk) -> None:
    path = disk.directory / "a.db"
    space = todo_app().open(path, vfs=disk.vfs)
    space.subscribe(COUNT, lambda _: None)
    [at] = space.append(TodoAdded(id="1", text="a"))
    settled: list[object] = []
    space._engine.telling.settling.add(at, settled.append)
    watched = set(all_threads())
    disk.faults = OneFault(1, kind)

    with pytest.raises(StorageError, match=r"a\.db was closed, but the disk failed"):
        space.close()

    disk.faults = None
    assert settled == [None]
    assert not [thread for thread in watched & set(all_threads()) if thread.name == "driftlog-others"]
    with pytest.raises(Closed):
        space.append(TodoAdded(id="2", text="b"))
    space.close()
    with todo_app().open(path, vfs=disk.vfs) as again:
        assert again.query(COUNT) == [(1,)]
