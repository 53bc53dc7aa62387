"""A file that is deleted, moved or replaced while it is open: nothing is appended to it that nobody would find again."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from driftlog import Space
from driftlog._sqlite.connection import Durability
from driftlog._sqlite.wal_writes import hints_for
from driftlog.errors import Corrupt, StorageError
from driftlog.space import whereabouts
from driftlog.space.others import Found, Others
from tests.todo_app import TodoAdded, todo_app

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows keeps an open file where it is")

COUNT = "SELECT count(*) FROM todo"
GONE = "while it was open; nothing was recorded"


@pytest.fixture(autouse=True)
def every_writer_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whereabouts, "LOOK_SECONDS", 0.0)


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Space]:
    with todo_app().open(tmp_path / "a.db") as space:
        space.append(TodoAdded(id="1", text="a"))
        # The test looks for itself.
        space._engine.others = Others(space._engine, space._engine.live.is_wanted, None, hints_for)
        yield space


def emptied_wal(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def delete(path: Path) -> None:
    path.unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("b.db"))


def put_back_a_backup(path: Path) -> None:
    emptied_wal(path)
    backup = path.with_name("backup.db")
    backup.write_bytes(path.read_bytes())
    backup.replace(path)


def repair_with_a_new_file(path: Path) -> None:
    emptied_wal(path)
    with path.open("r+b") as file:
        file.write(b"no SQLite")
    assert todo_app().repair(path)


@pytest.mark.parametrize("act", [delete, move, put_back_a_backup, repair_with_a_new_file])
def test_a_file_that_is_not_there_any_more_is_not_written_and_its_subscribers_are_told_once(
    act: Callable[[Path], None], space: Space, tmp_path: Path
) -> None:
    told: list[object] = []
    failed: list[Exception] = []
    space.subscribe(COUNT, lambda answer: told.append(answer[0][0]), on_error=failed.append)
    engine = space._engine

    act(tmp_path / "a.db")
    assert engine.look_for_others() is Found.NEWS
    engine.deliver()
    with pytest.raises(StorageError, match=GONE):
        engine.look_for_others()

    assert told == [1]
    [error] = failed
    assert isinstance(error, StorageError)
    assert GONE in str(error)
    for write in (lambda: space.append(TodoAdded(id="2", text="b")), lambda: space.receive([]), space.rebuild):
        with pytest.raises(StorageError, match=GONE):
            write()


def test_a_file_that_is_put_back_goes_on_and_its_subscribers_are_told_what_is_there(
    space: Space, tmp_path: Path
) -> None:
    told: list[object] = []
    failed: list[Exception] = []
    space.subscribe(COUNT, lambda answer: told.append(answer[0][0]), on_error=failed.append)
    path = tmp_path / "a.db"
    names = [path.with_name(path.name + end) for end in ("", "-wal", "-shm")]
    for name in names:
        name.rename(f"{name}.away")
    assert space._engine.look_for_others() is Found.NEWS
    space._engine.deliver()

    for name in names:
        name.with_name(name.name + ".away").rename(name)
    assert space._engine.look_for_others() is Found.NEWS
    space._engine.deliver()
    space.append(TodoAdded(id="2", text="b"))

    assert len(failed) == 1
    assert told == [1, 2]


def test_after_an_io_error_a_file_that_is_gone_is_not_founded_anew(space: Space, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.unlink()
    space._engine.reopening.note(apsw.IOError("the disk was taken out"))

    with pytest.raises(StorageError, match=GONE):
        space.query(COUNT)

    assert not path.exists()


def test_a_repair_of_a_file_that_is_open_is_told_where_it_changes_an_answer(space: Space, tmp_path: Path) -> None:
    told: list[object] = []
    space.subscribe("SELECT text FROM todo", lambda answer: told.append([row.text for row in answer]))
    forger = apsw.Connection(str(tmp_path / "a.db"))
    forger.execute("UPDATE todo SET text = 'forged'")
    forger.close()
    assert space._engine.look_for_others() is Found.NEWS
    space._engine.deliver()

    assert todo_app().repair(tmp_path / "a.db")
    assert space._engine.look_for_others() is Found.NEWS
    space._engine.deliver()
    space.append(TodoAdded(id="2", text="b"))

    assert told == [["a"], ["forged"], ["a"], ["a", "b"]]
    assert space.verify() == []


def test_a_file_that_is_cut_short_under_its_subscribers_is_told(space: Space, tmp_path: Path) -> None:
    failed: list[Exception] = []
    space.subscribe(COUNT, lambda _: None, on_error=failed.append)
    emptied_wal(tmp_path / "a.db")
    os.truncate(tmp_path / "a.db", 4096)

    assert space._engine.look_for_others() is Found.NEWS
    space._engine.deliver()

    assert [type(error) for error in failed] == [Corrupt]


def test_who_appends_again_and_again_looks_ten_times_a_second(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000_000.0
    monkeypatch.setattr(whereabouts, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr("time.monotonic", lambda: now)
    space.append(TodoAdded(id="2", text="a"))
    delete(tmp_path / "a.db")

    space.append(TodoAdded(id="3", text="a"))

    now += 0.1
    with pytest.raises(StorageError, match=GONE):
        space.append(TodoAdded(id="4", text="a"))
    with pytest.raises(StorageError, match=GONE):
        space.append(TodoAdded(id="4", text="a"))


def many(space: Space, first: int, count: int) -> None:
    for number in range(first, first + count):
        space.append(TodoAdded(id=str(number), text="x" * 200))


@pytest.mark.parametrize("is_noticed", [True, False], ids=["noticed", "closed before anybody looked"])
@pytest.mark.parametrize("durability", ["full", "relaxed"])
def test_a_file_that_was_moved_holds_all_that_was_recorded(
    tmp_path: Path, durability: Durability, is_noticed: bool
) -> None:
    path, moved = tmp_path / "a.db", tmp_path / "b.db"
    with todo_app().open(path, durability=durability) as space:
        many(space, 0, 50)
        path.rename(moved)
        if is_noticed:
            with pytest.raises(StorageError, match=r"was moved or deleted .* would found a new space there"):
                space.append(TodoAdded(id="lost", text="x"))
    path.with_name("a.db-device").rename(tmp_path / "b.db-device")

    with todo_app().open(moved) as space:
        assert space.query(COUNT) == [(50,)]
        assert space.verify() == []


@pytest.mark.parametrize("is_noticed", [True, False], ids=["noticed", "closed before anybody looked"])
def test_a_backup_that_is_put_in_place_is_not_written_over_by_the_wal_of_the_file_before_it(
    tmp_path: Path, is_noticed: bool
) -> None:
    path, backup = tmp_path / "a.db", tmp_path / "backup.db"
    with todo_app().open(path) as space:
        many(space, 0, 20)
    backup.write_bytes(path.read_bytes())
    with todo_app().open(path) as space:
        many(space, 20, 200)
        backup.replace(path)
        if is_noticed:
            with pytest.raises(
                StorageError, match=r"was replaced by another file .* Close the space and open it again"
            ):
                space.append(TodoAdded(id="lost", text="x"))

    with todo_app().open(path) as space:
        assert space.query(COUNT) == [(20,)]
        assert space.verify() == []


def test_once_the_file_was_found_gone_nothing_is_read_of_it_nor_of_what_is_in_its_place(
    space: Space, tmp_path: Path
) -> None:
    path = tmp_path / "a.db"
    path.rename(tmp_path / "b.db")

    with pytest.raises(StorageError, match=GONE):
        space.verify()
    for read in (lambda: space.query(COUNT), lambda: space.why("todo", "1"), space.status, space.digest):
        with pytest.raises(StorageError, match=GONE):
            read()

    (tmp_path / "b.db").rename(path)
    assert space.query(COUNT) == [(1,)]
    assert space.verify() == []


def test_a_file_of_which_it_cannot_be_told_counts_as_there(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: str) -> os.stat_result:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", fails)
        space._engine.whereabouts.check()
