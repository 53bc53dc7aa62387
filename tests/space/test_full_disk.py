"""A full disk: `DiskFull`, nothing half done, reading goes on, and once there is room all goes on as if nothing had been.

Above all it is never an event's fault: nothing is recorded as rejected because a disk was full.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from driftlog import Space, State, VersionVector
from driftlog.errors import DiskFull, StorageError
from tests.space.disks import Disk, PageLimit, small_disk
from tests.todo_app import TodoAdded, todo_app

APP = todo_app()
TEXT = "x" * 3_000
"""Long enough that a few events need new pages."""

APPENDS_MAX = 2_000
"""More than fit a disk of 1 MiB, whatever the WAL has reserved."""


@pytest.fixture(params=["small disk", "page limit"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if request.param == "page limit":
        yield PageLimit(tmp_path)
        return
    with small_disk(tmp_path / "small") as disk:
        yield disk


@pytest.fixture
def space(disk: Disk) -> Iterator[Space]:
    with APP.open(disk.path / "todos.db") as space:
        space.append(added(-1))
        yield space


def added(number: int) -> TodoAdded:
    return TodoAdded(id=str(number), text=TEXT)


def append_until_full(space: Space, begin: int = 0) -> int:
    """Give the number of the event that found no room."""
    numbers = iter(range(begin, begin + APPENDS_MAX))
    with pytest.raises(
        DiskFull, match=r"todos\.db: the disk is full; nothing was recorded. Free some room and try again"
    ):
        append_all(space.append, numbers)
    return next(numbers) - 1


def append_all(append: Callable[[TodoAdded], object], numbers: Iterable[int]) -> None:
    for number in numbers:
        append(added(number))


def assert_sound(space: Space, ids: set[str]) -> None:
    """Log and view hold these events, none is rejected, and the view is what the log makes of itself."""
    assert {row.id for row in space.query("SELECT id FROM todo")} == ids
    entries = list(space.log())
    assert {entry.event.id for entry in entries if isinstance(entry.event, TodoAdded)} == ids
    assert all(entry.state is State.APPLIED for entry in entries)
    status = space.status()
    assert (status.rejected, status.events) == (0, len(ids))


def numbered(end: int) -> set[str]:
    return {str(number) for number in range(-1, end)}


def test_append_says_that_the_disk_is_full_and_what_was_there_can_be_read(disk: Disk, space: Space) -> None:
    disk.fill(space)

    failed = append_until_full(space)

    assert_sound(space, numbered(failed))
    with pytest.raises(DiskFull):
        space.append(added(failed))
    assert_sound(space, numbered(failed))


def test_once_there_is_room_appending_goes_on_and_no_stamp_is_given_twice(disk: Disk, space: Space) -> None:
    disk.fill(space)
    failed = append_until_full(space)

    disk.free(space)
    for number in range(failed, failed + 20):
        space.append(added(number))

    assert_sound(space, numbered(failed + 20))
    stamps = [entry.timestamp.hlc for entry in space.log()]
    assert len(set(stamps)) == len(stamps)
    digest = space.digest()
    space.rebuild()
    assert space.digest() == digest


def test_a_transaction_that_finds_no_room_is_undone_as_a_whole(disk: Disk, space: Space) -> None:
    disk.fill(space)

    with pytest.raises(DiskFull), space.transaction() as tx:
        append_all(tx.append, range(APPENDS_MAX))

    assert_sound(space, {"-1"})
    disk.free(space)
    space.append(added(0))
    assert_sound(space, {"-1", "0"})


def test_in_the_midst_of_a_transaction_it_is_disk_full_too_and_catching_it_saves_no_part(tmp_path: Path) -> None:
    # A small disk would be met at the end only: until then, what a transaction writes waits in memory.
    disk = PageLimit(tmp_path)
    with APP.open(tmp_path / "todos.db") as space:
        space.append(added(-1))
        with pytest.raises(DiskFull):
            meet_a_full_disk_half_way(space, disk)

        assert_sound(space, {"-1"})
        space.append(added(0))
        assert_sound(space, {"-1", "0"})


def meet_a_full_disk_half_way(space: Space, disk: Disk) -> None:
    with space.transaction() as tx:
        tx.append(added(0))
        disk.fill(space)
        with pytest.raises(DiskFull, match=r"todos\.db: the disk is full"):
            append_all(tx.append, range(1, APPENDS_MAX))
        disk.free(space)
        tx.append(added(APPENDS_MAX))


def test_what_cannot_be_received_is_not_rejected_and_comes_in_once_there_is_room(disk: Disk, space: Space) -> None:
    with APP.join(":memory:", space.invite()) as other:
        other.append(*[added(number) for number in range(40)])
        envelopes = list(other.envelopes_for(VersionVector()))
        disk.fill(space)

        with pytest.raises(DiskFull):
            space.receive(envelopes)

        assert_sound(space, {"-1"})
        assert space.version_vector() == VersionVector()
        disk.free(space)
        receipt = space.receive(envelopes)
        assert (receipt.applied, receipt.refused) == (40, ())
        assert_sound(space, numbered(40))


def test_late_events_that_find_no_room_leave_the_later_ones_as_they_were(disk: Disk, space: Space) -> None:
    with APP.join(":memory:", space.invite(), clock=lambda: 1) as other:
        # All of them come before what is there.
        other.append(*[added(number) for number in range(40)])
        before = space.digest()
        disk.fill(space)

        with pytest.raises(DiskFull):
            space.receive(other.envelopes_for(VersionVector()))

        assert space.digest() == before
        assert_sound(space, {"-1"})
        disk.free(space)
        assert space.receive(other.envelopes_for(VersionVector())).applied == 40
        assert_sound(space, numbered(40))


def test_a_rebuild_that_finds_no_room_leaves_the_old_view(disk: Disk, space: Space) -> None:
    disk.fill(space)
    failed = append_until_full(space)
    before = space.digest()

    # With a limit of pages there may be room, because the old view's pages are used again.
    with suppress(DiskFull):
        space.rebuild()

    assert space.digest() == before
    disk.free(space)
    space.rebuild()
    assert space.digest() == before
    assert_sound(space, numbered(failed))


def test_sealing_without_room_loses_nothing(disk: Disk, space: Space) -> None:
    space.append(*[added(number) for number in range(30)])
    disk.fill(space)
    failed = append_until_full(space, 30)

    with pytest.raises(DiskFull):
        list(space.envelopes_for(VersionVector()))

    disk.free(space)
    with APP.join(":memory:", space.invite()) as other:
        other.receive(space.envelopes_for(VersionVector()))
        assert other.digest() == space.digest()
        assert_sound(other, numbered(failed))


def test_a_space_closed_on_a_full_disk_is_whole_when_it_is_opened_again(disk: Disk) -> None:
    with APP.open(disk.path / "todos.db") as space:
        space.append(added(-1))
        disk.fill(space)
        failed = append_until_full(space)
    if not isinstance(disk, PageLimit):
        disk.free(None)

    with APP.open(disk.path / "todos.db") as space:
        assert_sound(space, numbered(failed))
        space.append(added(failed))


@pytest.mark.parametrize("disk", ["small disk"], indirect=True)  # a limit of pages concerns an open space only
def test_a_new_space_that_finds_no_room_can_be_founded_once_there_is(disk: Disk) -> None:
    disk.fill(None)

    with pytest.raises(StorageError, match=r"todos\.db"):
        APP.open(disk.path / "todos.db")

    # An empty file may stay behind; it is as good as none.
    assert {path.name for path in disk.path.iterdir() if path.stat().st_size} == {"ballast"}
    disk.free(None)
    with APP.open(disk.path / "todos.db") as space:
        space.append(added(-1))
        assert_sound(space, {"-1"})
