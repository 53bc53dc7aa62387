"""The recorded journal is the truth: replayed to its end with everything kept, it gives the files that are there."""

from pathlib import Path

import apsw
import pytest

from driftlog.errors import DiskFull, StorageError
from driftlog.testing.disk import KEPT, SYNCED, OneFault, Room, SimulatedDisk, cuts, write_image
from tests.todo_app import TodoAdded, todo_app

APP = todo_app()


def test_the_journal_gives_the_files_that_are_there(tmp_path: Path) -> None:
    with SimulatedDisk(tmp_path) as disk:
        with APP.open(tmp_path / "todos.db", vfs=disk.vfs) as space:
            for number in range(20):
                space.append(TodoAdded(id=str(number), text="x" * 500))
            [*_, cut] = cuts(disk.journal)
            there = {path.name: path.read_bytes() for path in tmp_path.iterdir() if not path.name.endswith("-shm")}
            assert cut.image(KEPT) == there
        [*_, cut] = cuts(disk.journal)
        assert cut.image(KEPT) == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_what_was_synced_is_a_space_that_opens_elsewhere_without_the_simulated_disk(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    with SimulatedDisk(here) as disk, APP.open(here / "todos.db", vfs=disk.vfs) as space:
        space.append(TodoAdded(id="1", text="milk"))
        [*_, cut] = cuts(disk.journal)

    write_image(cut.image(SYNCED), there)

    with APP.open(there / "todos.db") as space:
        assert space.query("SELECT id FROM todo") == [("1",)]


def test_a_disk_that_is_full_after_so_many_bytes_is_met_as_one(tmp_path: Path) -> None:
    with SimulatedDisk(tmp_path) as disk, APP.open(tmp_path / "todos.db", vfs=disk.vfs) as space:
        disk.faults = Room(3_000)
        with pytest.raises(DiskFull):
            space.append(TodoAdded(id="1", text="x" * 10_000))

        disk.faults = None
        space.append(TodoAdded(id="1", text="x"))
        assert space.query("SELECT text FROM todo") == [("x",)]


def test_an_operation_that_is_to_fail_does(tmp_path: Path) -> None:
    with SimulatedDisk(tmp_path) as disk, APP.open(tmp_path / "todos.db", vfs=disk.vfs) as space:
        disk.faults = fault = OneFault(1, "sync")
        with pytest.raises(StorageError):
            space.append(TodoAdded(id="1", text="x"))
        assert fault.failed == [("sync", "todos.db-wal")]


def test_a_wal_that_another_has_made_and_never_synced_keeps_its_name_once_it_is_synced(tmp_path: Path) -> None:
    path = tmp_path / "todos.db"
    with SimulatedDisk(tmp_path) as disk:
        APP.open(path, vfs=disk.vfs).close()
        reader = apsw.Connection(str(path), vfs=disk.vfs)
        reader.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        assert reader.execute("SELECT count(*) FROM todo").get == 0
        reader.close()
        assert (tmp_path / "todos.db-wal").exists()

        with APP.open(path, vfs=disk.vfs) as space:
            space.append(TodoAdded(id="1", text="milk"))
            [*_, cut] = cuts(disk.journal)

    assert cut.image(SYNCED)["todos.db-wal"]


def test_files_that_a_disk_is_given_are_synced_and_a_cut_leaves_them(tmp_path: Path) -> None:
    path = tmp_path / "todos.db"
    with SimulatedDisk(tmp_path) as disk:
        with APP.open(path, vfs=disk.vfs) as space:
            space.append(TodoAdded(id="1", text="milk"))
        given = {found.name: found.read_bytes() for found in tmp_path.iterdir()}
        with APP.open(path, vfs=disk.vfs) as space:
            space.append(TodoAdded(id="2", text="bread"))

        disk.hold(given)

        [*_, cut] = cuts(disk.journal)
        assert cut.image(SYNCED) == cut.image(KEPT) == given
        with APP.open(path, vfs=disk.vfs) as space:
            assert space.query("SELECT id FROM todo") == [("1",)]
