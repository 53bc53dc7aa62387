"""The WAL is moved when it is long, neither after every commit nor never, and does not stay long."""

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from driftlog._sqlite import wal as wal_module
from driftlog._sqlite.connection import connect
from driftlog._sqlite.wal import move_wal_when_long

PAGES_MAX = 16
PAGE_BYTES = 4096
HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24
"""Of SQLite's format."""
COMMITS = 200


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
def writer(path: Path) -> Iterator[apsw.Connection]:
    with closing(connect(path)) as connection:
        connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB) STRICT")
        move_wal_when_long(connection, PAGES_MAX)
        yield connection


def write(connection: apsw.Connection, commits: int = 1) -> None:
    for _ in range(commits):
        connection.execute("INSERT INTO t (b) VALUES (zeroblob(?))", (PAGE_BYTES,))


def pages_in_wal(path: Path) -> int:
    wal = path.with_name(path.name + "-wal")
    return wal.stat().st_size // PAGE_BYTES if wal.exists() else 0


def let_grow_and_begin_anew(path: Path, writer: apsw.Connection) -> None:
    """Leave a WAL that begins anew with the next commit, in a file that has grown behind a reader."""
    with closing(apsw.Connection(str(path))) as reader:
        reader.execute("BEGIN; SELECT * FROM t")
        write(writer, COMMITS)
        reader.execute("COMMIT")
        reader.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    assert pages_in_wal(path) > COMMITS


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes are written over before each move."""
    found: list[int] = []
    write_over = wal_module._write_wal_over_itself

    def noted(connection: apsw.Connection, begin: int, end: int) -> None:
        write_over(connection, begin, end)
        found.append(end - begin)

    monkeypatch.setattr(wal_module, "_write_wal_over_itself", noted)
    return found


def test_a_wal_is_moved_each_time_it_is_as_long_as_it_may_be(
    path: Path, writer: apsw.Connection, written: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal_module, "SYNCED_BYTES_MIN", 1)
    write(writer, COMMITS)

    assert pages_in_wal(path) <= 1.5 * PAGES_MAX
    # A commit writes two pages or three.
    assert 2 * COMMITS // (PAGES_MAX + 3) <= len(written) <= 3 * COMMITS // PAGES_MAX + 1
    assert min(written) >= PAGES_MAX * PAGE_BYTES, "not all of it was written over"


def test_a_wal_that_a_reader_lets_grow_is_written_over_about_once_and_cut_afterwards(
    path: Path, writer: apsw.Connection, written: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal_module, "SYNCED_BYTES_MIN", PAGES_MAX * PAGE_BYTES)
    with closing(apsw.Connection(str(path))) as reader:
        reader.execute("BEGIN; SELECT * FROM t")
        write(writer, COMMITS)
        size = pages_in_wal(path)
        assert size > COMMITS
        # What follows the last sync, half of the least at the mean, is written over after each commit.
        assert sum(written) <= (size + COMMITS * PAGES_MAX) * PAGE_BYTES
        reader.execute("COMMIT")
    write(writer)
    assert pages_in_wal(path) == 0

    write(writer, PAGES_MAX)
    size = pages_in_wal(path)
    assert PAGES_MAX <= size <= 1.5 * PAGES_MAX
    write(writer, COMMITS)
    assert pages_in_wal(path) == size, "a file that is not too long keeps its size"


def test_readers_that_come_and_go_let_a_wal_grow_a_few_times_only(path: Path, writer: apsw.Connection) -> None:
    rng = random.Random("readers")
    longest = 0
    with closing(apsw.Connection(str(path))) as reader:
        for _ in range(20 * COMMITS):
            # In three of four moments somebody reads, each time the newest state.
            is_there = rng.random() < 0.75
            if is_there:
                reader.execute("BEGIN; SELECT * FROM t")
            write(writer)
            if is_there:
                reader.execute("COMMIT")
            longest = max(longest, pages_in_wal(path))

    assert longest <= 10 * PAGES_MAX


def test_a_wal_that_begins_anew_by_itself_is_cut_although_it_is_short(path: Path, writer: apsw.Connection) -> None:
    let_grow_and_begin_anew(path, writer)

    write(writer)
    assert pages_in_wal(path) == 0


def test_in_a_file_that_is_longer_than_the_wal_all_of_the_wal_is_written_over(
    path: Path, writer: apsw.Connection, written: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal_module, "SYNCED_BYTES_MIN", 1)
    let_grow_and_begin_anew(path, writer)
    with closing(apsw.Connection(str(path))) as reader:
        reader.execute("BEGIN; SELECT * FROM t")
        written.clear()
        long = pages_in_wal(path)
        write(writer, 2 * PAGES_MAX)

        assert pages_in_wal(path) == long, "it was cut, although somebody reads"
        assert 2 * 2 * PAGES_MAX <= sum(written) // PAGE_BYTES <= 2 * 4 * PAGES_MAX


def test_what_others_have_committed_since_belongs_to_the_wal(path: Path, writer: apsw.Connection) -> None:
    write(writer, 3)

    _, _, end = wal_module._content_of_wal(writer, 1)

    assert end == path.with_name(path.name + "-wal").stat().st_size


def test_what_a_transaction_has_left_that_was_rolled_back_is_not_taken_for_safe(
    path: Path, writer: apsw.Connection
) -> None:
    counts: list[int] = []

    def count(_connection: apsw.Connection, _database: str, pages: int) -> int:
        counts.append(pages)
        return apsw.SQLITE_OK

    writer.set_wal_hook(count)
    write(writer, 3)
    writer.pragma("cache_size", 2)
    writer.execute("BEGIN")
    write(writer, 50)
    writer.execute("ROLLBACK")

    _, sure_end, end = wal_module._content_of_wal(writer, counts[-1])

    assert sure_end == HEADER_BYTES + counts[-1] * (FRAME_HEADER_BYTES + PAGE_BYTES)
    assert end > sure_end


def test_of_a_wal_that_has_begun_anew_nothing_is_sure(path: Path, writer: apsw.Connection) -> None:
    writer.set_wal_hook(None)
    write(writer, COMMITS)
    before, sure_end, _ = wal_module._content_of_wal(writer, COMMITS)
    assert sure_end
    writer.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    write(writer)

    salt, sure_end, end = wal_module._content_of_wal(writer, COMMITS)

    assert salt != before
    assert sure_end == 0
    assert end >= HEADER_BYTES + 2 * (FRAME_HEADER_BYTES + PAGE_BYTES)


@pytest.mark.parametrize("error", [MemoryError(), apsw.IOError("disk I/O error"), apsw.FullError("disk is full")])
def test_what_goes_wrong_while_it_is_moved_is_not_raised_from_the_commit_that_has_succeeded(
    writer: apsw.Connection, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(wal_module, "_content_of_wal", fail)
    write(writer, PAGES_MAX)

    assert writer.execute("SELECT count(*) FROM t").fetchone() == (PAGES_MAX,)


def test_while_another_process_writes_the_wal_is_left_and_moved_after_the_next_commit(
    path: Path, writer: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise apsw.BusyError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(wal_module, "_write_wal_over_itself", busy)
        write(writer, PAGES_MAX)
    before = path.stat().st_size
    write(writer)

    assert path.stat().st_size > before, "it was not moved"
