"""A late event takes with it exactly what depends on it: one story for each way to depend."""

from contextlib import suppress
from pathlib import Path

import apsw
import pytest

from driftlog import App, Event, ViewTransaction, Way, reject
from driftlog.errors import DiskFull, EventRejected
from driftlog.testing import exchange, fleet
from tests.stories import STORIES, Ran, Story, app, put, tell
from tests.todo_app import Clock


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_a_late_event_gives_what_a_fold_from_empty_gives(story: Story) -> None:
    tell(story)


def test_the_index_forgets_what_a_failed_transaction_did() -> None:
    behind, ahead = fleet(app, 2, clocks=[Clock(1_000), Clock(2_000)])
    with behind, ahead:
        behind.append(put("room", "first", None))
        ahead.append(put("room", "r", None))
        # The first late event warms the index, which is kept up to date from then on.
        ahead.receive(behind.envelopes_for(ahead.version_vector()))
        with suppress(ZeroDivisionError), ahead.transaction() as tx:
            tx.append(Ran("DELETE FROM room WHERE id = 'r'"))
            raise ZeroDivisionError
        behind.append(put("room", "r", "late"))

        receipt = ahead.receive(behind.envelopes_for(ahead.version_vector()))

        assert (receipt.way, receipt.replayed) == (Way.CLOSURE, 1)
        assert ahead.query("SELECT name FROM room WHERE id = 'r'") == [("late",)]


def test_what_another_process_wrote_is_seen_though_ctrl_c_came_as_it_was_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.db"
    with (
        app.open(path, clock=Clock(5_000)) as space,
        app.join(":memory:", space.invite(), clock=Clock(1_000)) as behind,
    ):
        space.append(put("room", "r", None))
        behind.append(put("room", "first", None))
        space.receive(behind.envelopes_for(space.version_vector()))
        with app.open(path, clock=Clock(6_000)) as other:
            other.append(Ran("UPDATE room SET name = 'by another process' WHERE id = 'r'"))

        def interrupted() -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(space._engine._store._fold, "forget", interrupted)
            with pytest.raises(KeyboardInterrupt):
                space.append(put("room", "s", None))
        behind.append(put("room", "s", "late"), Ran("INSERT OR REPLACE INTO room (id, name) VALUES ('r', 'late')"))
        space.receive(behind.envelopes_for(space.version_vector()))

        assert space.query("SELECT name FROM room WHERE id = 'r'") == [("by another process",)]


class Guarded(Event):
    """Runs a statement, and another whatever became of the first."""

    sql: str
    size: int = 0


guarded = App("org.example.guarded", tables="CREATE TABLE t (n INTEGER PRIMARY KEY, v TEXT) STRICT;")


@guarded.on(Guarded)
def run_guarded(tx: ViewTransaction, event: Guarded) -> None:
    with suppress(Exception):
        tx.execute(event.sql, ["x" * event.size] if event.size else ())
    with suppress(Exception):
        tx.execute("INSERT INTO t VALUES (2, 'after')")


def test_a_row_that_cannot_be_read_leaves_nothing_behind() -> None:
    [space] = fleet(guarded, 1)
    with space:
        with pytest.raises(EventRejected, match="not UTF-8"):
            space.append(Guarded("INSERT INTO t VALUES (1, CAST(x'ff' AS TEXT))"))

        assert space.query("SELECT n FROM t") == []


def test_a_handler_that_goes_on_after_a_full_disk_writes_nothing() -> None:
    [space] = fleet(guarded, 1)
    with space:
        connection = space._engine._connection
        pages = connection.pragma("page_count")
        connection.pragma("max_page_count", pages)
        with pytest.raises(DiskFull):
            space.append(Guarded("INSERT INTO t VALUES (1, ?)", 10_000_000))
        connection.pragma("max_page_count", 1 << 30)

        assert list(space.log()) == []
        assert space.query("SELECT n FROM t") == []


def test_the_index_forgets_a_view_that_was_altered_from_outside(tmp_path: Path) -> None:
    paths = [tmp_path / "behind", tmp_path / "ahead"]
    behind, ahead = fleet(app, 2, paths, clocks=[Clock(1_000), Clock(2_000)])
    with behind, ahead:
        behind.append(put("room", "r", None))
        behind.append(put("booking", "b", "r"))
        exchange(behind, ahead)
        outsider = apsw.Connection(str(paths[1]))
        outsider.execute("DELETE FROM booking")
        outsider.close()
        ahead.append(Ran("DELETE FROM room WHERE id = 'r'"))
        behind.append(put("grid", 1, 1, "late"))
        # The index is warm, and does not know that the room took a booking with it.
        ahead.receive(behind.envelopes_for(ahead.version_vector()))
        ahead.rebuild()
        behind.append(Ran("SELECT 1", then="SELECT 1 FROM booking WHERE id = 'b'"))
        ahead.receive(behind.envelopes_for(ahead.version_vector()))
        woven = ahead.digest()
        ahead.rebuild()

        assert woven == ahead.digest()


once = App("org.example.once", tables="CREATE TABLE t (n INTEGER PRIMARY KEY, v TEXT) STRICT;")


@once.on(Guarded)
def run_with_what_is_read_once(tx: ViewTransaction, event: Guarded) -> None:
    tx.execute(event.sql, (value for value in (event.size, "a")))  # type: ignore[arg-type]


def test_parameters_that_can_be_read_only_once_are_refused_every_time() -> None:
    [space] = fleet(once, 1)
    with space:
        for n in (1, 2):
            with pytest.raises(EventRejected, match="TypeError"):
                space.append(Guarded("INSERT INTO t VALUES (?, ?)", n))


refusing = App("org.example.refusing", tables="CREATE TABLE t (n INTEGER PRIMARY KEY, v TEXT) STRICT;")


@refusing.on(Guarded)
def refuse_where_anything_is(tx: ViewTransaction, event: Guarded) -> None:
    if tx.one("SELECT 1 FROM t"):
        reject("\ud800")
    tx.execute(event.sql)


def test_a_reason_that_has_no_utf8_stops_nobody() -> None:
    behind, ahead = fleet(refusing, 2, clocks=[Clock(1_000), Clock(2_000)])
    with behind, ahead:
        ahead.append(Guarded("INSERT INTO t VALUES (1, 'a')"))
        behind.append(Guarded("INSERT INTO t VALUES (2, 'a')"))

        ahead.receive(behind.envelopes_for(ahead.version_vector()))

        assert [entry.reason for entry in ahead.log()] == [None, "\\ud800"]
