"""The WAL is moved when it is long, neither after every commit nor never, and does not stay long."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from driftlog._sqlite import wal as wal_module
from driftlog._sqlite.connection import connect
from driftlog._sqlite.wal import care_for_wal

PAGES_MAX = 16
PAGE_BYTES = 4096
COMMITS = 200


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
def writer(path: Path) -> Iterator[apsw.Connection]:
    with closing(connect(path)) as connection:
        connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB) STRICT")
        care_for_wal(connection, PAGES_MAX)
        yield connection


def write(connection: apsw.Connection, commits: int = 1) -> None:
    for _ in range(commits):
        connection.execute("INSERT INTO t (b) VALUES (zeroblob(?))", (PAGE_BYTES,))


def pages_in_wal(path: Path) -> int:
    wal = path.with_name(path.name + "-wal")
    return wal.stat().st_size // PAGE_BYTES if wal.exists() else 0


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often the WAL is moved: a one for each time."""
    found: list[int] = []
    write_over = wal_module._write_wal_over_itself

    def noted(connection: apsw.Connection) -> None:
        found.append(1)
        write_over(connection)

    monkeypatch.setattr(wal_module, "_write_wal_over_itself", noted)
    return found


def test_a_wal_is_moved_each_time_it_is_as_long_as_it_may_be(
    path: Path, writer: apsw.Connection, moves: list[int]
) -> None:
    write(writer, COMMITS)

    assert pages_in_wal(path) <= 1.5 * PAGES_MAX
    # A commit writes two pages or three.
    assert 2 * COMMITS // (PAGES_MAX + 3) <= len(moves) <= 3 * COMMITS // PAGES_MAX + 1


def test_a_wal_that_a_reader_lets_grow_is_moved_a_few_times_only_and_cut_afterwards(
    path: Path, writer: apsw.Connection, moves: list[int]
) -> None:
    with closing(apsw.Connection(str(path))) as reader:
        reader.execute("BEGIN; SELECT * FROM t")
        write(writer, COMMITS)
        assert pages_in_wal(path) > COMMITS
        assert 3 <= len(moves) <= 6
        reader.execute("COMMIT")
    for _ in range(2 * COMMITS):
        write(writer)
        if not pages_in_wal(path):
            break
    assert pages_in_wal(path) == 0

    write(writer, PAGES_MAX)
    size = pages_in_wal(path)
    assert PAGES_MAX <= size <= 1.5 * PAGES_MAX
    write(writer, COMMITS)
    assert pages_in_wal(path) == size, "a file that is not too long keeps its size"


def test_a_wal_that_begins_anew_by_itself_is_cut_although_it_is_short(path: Path, writer: apsw.Connection) -> None:
    with closing(apsw.Connection(str(path))) as reader:
        reader.execute("BEGIN; SELECT * FROM t")
        write(writer, COMMITS)
        reader.execute("COMMIT")
    with closing(apsw.Connection(str(path))) as other:
        other.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    assert pages_in_wal(path) > COMMITS

    write(writer)
    assert pages_in_wal(path) == 0


def test_while_another_process_writes_the_wal_is_left_and_moved_after_the_next_commit(
    path: Path, writer: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(_: apsw.Connection) -> None:
        raise apsw.BusyError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(wal_module, "_write_wal_over_itself", busy)
        write(writer, PAGES_MAX)
    before = path.stat().st_size
    write(writer)

    assert path.stat().st_size > before, "it was not moved"
