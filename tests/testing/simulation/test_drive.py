"""A drive lets a process die, and forget what was not synced, exactly where it says."""

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from driftlog.testing.disk import Room
from driftlog.testing.simulation.drive import Drive
from driftlog.testing.simulation.files import close_without_care
from driftlog.testing.simulation.loop import Killed


class Owner:
    """Whose turn it is."""

    is_at_work = True


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def drive(tmp_path: Path, owner: Owner) -> Iterator[Drive]:
    drive = Drive(tmp_path, lambda: owner.is_at_work)
    with drive.disk:
        yield drive


def opened(drive: Drive, synchronous: str = "full") -> apsw.Connection:
    connection = apsw.Connection(str(drive.disk.directory / "a"), vfs=drive.disk.vfs)
    close_without_care(connection)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", synchronous)
    connection.execute("CREATE TABLE IF NOT EXISTS t (n)")
    return connection


def rows(drive: Drive) -> list[int]:
    connection = opened(drive)
    found = [n for (n,) in connection.execute("SELECT n FROM t ORDER BY n")]
    connection.close()
    return found


def die_writing(drive: Drive, connection: apsw.Connection, *, is_cut: bool) -> None:
    drive.end_at(2, (lambda: drive.cut_power(1)) if is_cut else drive.stop)
    with pytest.raises(Killed):
        connection.execute("INSERT INTO t VALUES (2)")
    assert drive.is_dead
    connection.close()
    drive.go_on()


@pytest.mark.parametrize("is_cut", [True, False])
def test_what_was_committed_before_a_death_is_there(drive: Drive, is_cut: bool) -> None:
    connection = opened(drive)
    connection.execute("INSERT INTO t VALUES (1)")

    die_writing(drive, connection, is_cut=is_cut)

    assert 1 in rows(drive)


def test_a_death_without_a_power_cut_leaves_what_was_not_synced_and_a_later_cut_may_take_it(drive: Drive) -> None:
    connection = opened(drive)
    connection.execute("INSERT INTO t VALUES (1)")
    connection.pragma("synchronous", "normal")
    connection.execute("INSERT INTO t VALUES (2)")
    drive.stop()
    connection.close()
    drive.go_on()
    assert rows(drive) == [1, 2]

    found = set[int]()
    for seed in range(8):
        drive.cut_power(seed)
        found.add(len(rows_of_cut(drive)))

    assert found == {1, 2}


def rows_of_cut(drive: Drive) -> list[int]:
    """Look at the cut, and let it not have been."""
    journal, image = list(drive.disk.journal), {p.name: p.read_bytes() for p in drive.disk.directory.iterdir()}
    drive.go_on()
    found = rows(drive)
    drive.hold({name: content for name, content in image.items() if not name.endswith("-shm")})
    drive.disk.journal[:] = journal
    return found


def test_a_disk_that_lied_may_lose_what_was_committed_and_none_that_is_right_again_does(drive: Drive) -> None:
    connection = opened(drive)
    connection.execute("INSERT INTO t VALUES (1)")
    drive.lie()
    connection.execute("INSERT INTO t VALUES (2)")
    connection.close()

    lost = 0
    for seed in range(8):
        drive.cut_power(seed)
        assert drive.is_lying
        lost += rows_of_cut(drive) == [1]
        drive.lie()
    assert lost


def test_only_its_owner_meets_a_fault(drive: Drive, owner: Owner) -> None:
    connection = opened(drive)
    drive.trouble = Room(0)
    owner.is_at_work = False
    connection.execute("INSERT INTO t VALUES (1)")

    owner.is_at_work = True
    with pytest.raises(apsw.FullError):
        connection.execute("INSERT INTO t VALUES (2)")

    assert drive.raised == 1
    drive.set_right()
    connection.execute("INSERT INTO t VALUES (3)")
    connection.close()
    assert rows(drive) == [1, 3]


def test_trouble_is_not_met_while_a_file_is_closed(drive: Drive) -> None:
    connection = opened(drive)
    connection.execute("INSERT INTO t VALUES (1)")
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
    drive.trouble = Room(0)

    with drive.closing():
        connection.close()

    assert drive.raised == 0
