"""A rebuild from outside: who reads what meanwhile, who waits, who is told, and what it leaves when it is stopped (P33)."""

import threading
from pathlib import Path

import apsw
import pytest

from driftlog import App, Event, Space, ViewTransaction
from driftlog.errors import AppChanged, Busy, DiskFull
from driftlog.testing import exchange
from tests.space.disks import small_disk
from tests.todo_app import Clock

COUNTS = "CREATE TABLE count (id TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT"
EVENTS = 2_500
TOLD = [(0, EVENTS), (1_000, EVENTS), (2_000, EVENTS), (EVENTS, EVENTS)]


class Counted(Event):
    id: str
    n: int


def times(factor: int) -> App:
    app = App("org.example.counts", tables=COUNTS)

    @app.on(Counted)
    def counted(tx: ViewTransaction, event: Counted) -> None:
        tx.execute("INSERT INTO count VALUES (?, ?)", (event.id, factor * event.n))

    return app


OLD, NEW = times(1), times(100)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "counts.db"
    fill(path, EVENTS)
    return path


def fill(path: Path, events: int) -> None:
    with OLD.open(path, clock=Clock()) as space:
        for begin in range(0, events, 500):
            space.append(*[Counted(id=str(n), n=1) for n in range(begin, begin + 500)])


def total(space: Space) -> object:
    [(n,)] = space.query("SELECT sum(n) FROM count")
    return n


class Stopped(Exception):
    """The app's own."""


# --- progress and cancelling ------------------------------------------------------------------------------------------


def test_opening_with_a_changed_app_tells_how_far_it_is(path: Path) -> None:
    told: list[tuple[int, int]] = []
    with NEW.open(path, progress=lambda done, in_all: told.append((done, in_all))) as space:
        assert total(space) == 100 * EVENTS
    assert told == TOLD


def test_opening_with_an_unchanged_app_tells_nothing(path: Path) -> None:
    told: list[tuple[int, int]] = []
    with OLD.open(path, progress=lambda done, in_all: told.append((done, in_all))):
        pass
    assert told == []


def test_what_is_held_is_not_counted(tmp_path: Path) -> None:
    ahead = Clock(Clock().now_ms + 3 * 24 * 60 * 60 * 1000)
    told: list[tuple[int, int]] = []
    with OLD.open(":memory:", clock=Clock()) as space, OLD.join(":memory:", space.invite(), clock=ahead) as other:
        space.append(Counted(id="a", n=1))
        other.append(Counted(id="b", n=1))
        exchange(space, other)
        assert space.status().held == 1

        assert space.rebuild(lambda done, in_all: told.append((done, in_all))) == 1
    assert told == [(0, 1), (1, 1)]


@pytest.mark.parametrize("place", [0, 1_000, EVENTS])
def test_an_opening_that_is_cancelled_gives_the_apps_exception_and_leaves_the_file_as_it_was(
    path: Path, place: int
) -> None:
    def progress(done: int, _: int) -> None:
        if done >= place:
            raise Stopped

    before = contents(path)
    with pytest.raises(Stopped):
        NEW.open(path, progress=progress)

    assert contents(path) == before
    told: list[tuple[int, int]] = []
    with OLD.open(path, progress=lambda done, in_all: told.append((done, in_all))) as space:
        assert total(space) == EVENTS
        space.append(Counted(id="later", n=1))
    assert told == [], "the old tables were never gone"
    with NEW.open(path) as space:
        assert total(space) == 100 * (EVENTS + 1)


def contents(path: Path) -> list[tuple[object, ...]]:
    """Everything that is in a file."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    names = [
        name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    ]
    everything = [row for name in names for row in connection.execute(f'SELECT * FROM "{name}"')]
    connection.close()
    return everything


def test_a_rebuild_that_is_cancelled_leaves_the_old_tables_and_the_space_goes_on(path: Path) -> None:
    with OLD.open(path, clock=Clock()) as space:
        before = contents(path)

        def progress(done: int, _: int) -> None:
            if done == 2_000:
                raise Stopped

        with pytest.raises(Stopped):
            space.rebuild(progress)

        assert contents(path) == before
        space.append(Counted(id="later", n=1))
        with OLD.join(":memory:", space.invite(), clock=Clock(Clock().now_ms - 1_000)) as other:
            other.append(Counted(id="late", n=1))
            exchange(space, other)
            assert space.digest() == other.digest()


def test_a_full_disk_in_the_midst_leaves_the_old_tables_and_the_update_comes_through_later(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small") as disk:
        path = disk.path / "counts.db"
        fill(path, 500)

        def fill_disk(done: int, _: int) -> None:
            if done == 0:
                disk.fill()

        with pytest.raises(DiskFull, match=r"counts\.db: the disk is full"):
            NEW.open(path, progress=fill_disk)

        disk.free()
        with OLD.open(path, progress=must_not_be_told) as space:
            assert total(space) == 500
        with NEW.open(path) as space:
            assert total(space) == 50_000


def must_not_be_told(_: int, __: int) -> None:
    raise AssertionError("nothing is rebuilt")


# --- others, meanwhile ------------------------------------------------------------------------------------------------


def test_others_read_the_old_tables_until_the_new_ones_are_there(path: Path) -> None:
    """Two connections to one file stand for two processes: SQLite lets neither know more of the other."""
    seen: list[object] = []
    with OLD.open(path) as old:
        digest = old.digest()

        def look(_: int, __: int) -> None:
            seen.append(total(old))
            assert old.digest() == digest
            with old.at(next(iter(old.log())).timestamp) as past:
                assert past.query("SELECT * FROM count") == [("0", 1)]

        with NEW.open(path, progress=look) as new:
            assert total(new) == total(old) == 100 * EVENTS
        with pytest.raises(AppChanged):
            old.append(Counted(id="later", n=1))
    assert seen == [EVENTS] * len(TOLD)


def test_a_space_reads_its_old_tables_while_it_rebuilds_them_itself(path: Path) -> None:
    with OLD.open(path) as space:
        space._engine._connection.execute("UPDATE count SET n = 7")
        seen: list[object] = []

        space.rebuild(lambda _, __: seen.append(total(space)))

        assert seen == [7 * EVENTS] * len(TOLD)
        assert total(space) == EVENTS


def test_of_two_that_open_the_changed_app_at_once_one_rebuilds_and_the_other_waits_for_it(path: Path) -> None:
    told_second: list[tuple[int, int]] = []
    opened: list[Space] = []
    second = threading.Thread(
        target=lambda: opened.append(NEW.open(path, progress=lambda *told: told_second.append(told)))
    )

    def let_the_second_come(done: int, _: int) -> None:
        if done == 0:
            second.start()

    with NEW.open(path, progress=let_the_second_come) as first:
        second.join()
        [other] = opened
        assert total(first) == total(other) == 100 * EVENTS
        other.append(Counted(id="x", n=1))
        first.append(Counted(id="y", n=1))
        other.close()
    assert told_second == []


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftlog._sqlite.transactions.BUSY_TIMEOUT_MS", 20)
    monkeypatch.setattr("driftlog._store.rebuilding.WAITS_MAX", 4)


@pytest.mark.usefixtures("impatient")
def test_an_opening_waits_for_a_long_rebuild_elsewhere_and_tells_that_it_does(path: Path) -> None:
    elsewhere = apsw.Connection(str(path))
    elsewhere.execute("BEGIN IMMEDIATE")
    told: list[tuple[int, int]] = []

    def progress(done: int, in_all: int) -> None:
        told.append((done, in_all))
        if len(told) == 3:
            elsewhere.execute("ROLLBACK")

    with NEW.open(path, progress=progress) as space:
        assert total(space) == 100 * EVENTS
    elsewhere.close()
    assert told == [(0, EVENTS)] * 3 + TOLD


@pytest.mark.usefixtures("impatient")
def test_an_opening_that_waits_for_too_long_says_so_and_one_that_waits_can_be_cancelled(path: Path) -> None:
    elsewhere = apsw.Connection(str(path))
    elsewhere.execute("BEGIN IMMEDIATE")
    told: list[tuple[int, int]] = []

    with pytest.raises(Busy, match="another process has been writing"):
        NEW.open(path, progress=lambda *so_far: told.append(so_far))
    assert told == [(0, EVENTS)] * 3

    def progress(_: int, __: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        NEW.open(path, progress=progress)
    elsewhere.close()


# --- what is remembered of the old tables ------------------------------------------------------------------------------


class Copied(Event):
    source: str
    id: str


def copying() -> App:
    app = App("org.example.copies", tables=COUNTS)

    @app.on(Counted)
    def counted(tx: ViewTransaction, event: Counted) -> None:
        tx.execute("INSERT INTO count VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET n = n + 1", (event.id, event.n))

    @app.on(Copied)
    def copied(tx: ViewTransaction, event: Copied) -> None:
        if tx.one("SELECT 1 FROM count WHERE id = ?", (event.source,)) is not None:
            tx.execute("INSERT INTO count VALUES (?, 0) ON CONFLICT (id) DO UPDATE SET n = -n", (event.id,))

    return app


def test_a_late_event_after_a_rebuild_finds_what_the_events_touch_in_the_new_tables(tmp_path: Path) -> None:
    clock, late_clock = Clock(), Clock()
    with (
        copying().open(tmp_path / "counts.db", clock=clock) as space,
        copying().join(":memory:", space.invite(), clock=late_clock) as other,
    ):
        space.append(Counted(id="a", n=1))
        space._engine._connection.execute("DELETE FROM count")
        clock.now_ms += 1_000
        late_clock.now_ms += 500
        # Without its source, the copy touches nothing of "b".
        space.append(Copied(source="a", id="b"))
        other.append(Counted(id="elsewhere", n=1))
        exchange(space, other)
        space.rebuild()
        assert [row.id for row in space.query("SELECT id FROM count ORDER BY id")] == ["a", "b", "elsewhere"]

        other_late = Clock(Clock().now_ms + 600)
        with copying().join(":memory:", space.invite(), clock=other_late) as third:
            third.append(Counted(id="b", n=5))
            exchange(space, third)
            assert space.digest() == third.digest()
        assert space.query("SELECT n FROM count WHERE id = 'b'") == [(-5,)]
