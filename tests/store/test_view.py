"""The view is taken back exactly: what an event changed, cascades and triggers included, is as it was before."""

import random
from collections.abc import Iterator

import apsw
import pytest

from driftlog import Event, ViewTransaction, reject
from driftlog._core.clock import Hlc, Timestamp
from driftlog._core.ids import DeviceKey, EventHash
from driftlog._sqlite.connection import connect
from driftlog._sqlite.tables import declare_tables
from driftlog._store.program import Materializer, Rejection
from driftlog._store.view import Guard, Unreadable, View
from driftlog.errors import DriftlogError

TABLES = """
CREATE TABLE room (id TEXT COLLATE NOCASE PRIMARY KEY, seat INTEGER UNIQUE, note TEXT) STRICT;
CREATE TABLE booking (
  room TEXT NOT NULL COLLATE NOCASE REFERENCES room ON DELETE CASCADE ON UPDATE CASCADE,
  hour INTEGER NOT NULL, who TEXT, size INTEGER GENERATED ALWAYS AS (length(who)) STORED,
  PRIMARY KEY (room, hour)
) STRICT;
CREATE TABLE counter (id INTEGER PRIMARY KEY, n INTEGER NOT NULL) STRICT;
CREATE TRIGGER counted AFTER INSERT ON booking BEGIN
  INSERT INTO counter (n) VALUES (NEW.hour);
END;
CREATE TRIGGER forgotten AFTER DELETE ON booking BEGIN
  DELETE FROM counter WHERE n = OLD.hour;
END;
"""

STATEMENTS = (
    "INSERT INTO room VALUES (:room, :hour, :who)",
    "INSERT OR REPLACE INTO room VALUES (:room, :hour, :who)",
    "INSERT INTO room VALUES (:room, :hour, :who) ON CONFLICT (id) DO UPDATE SET note = excluded.note",
    "UPDATE room SET seat = CASE seat WHEN 1 THEN -1 WHEN 2 THEN -2 END WHERE seat IN (1, 2)",
    "UPDATE room SET seat = 3 + seat WHERE seat < 0",
    "UPDATE room SET id = upper(id) WHERE id = :room",
    "UPDATE room SET id = :room2 WHERE id = :room",
    "DELETE FROM room WHERE id = :room",
    "DELETE FROM room",
    "INSERT INTO booking (room, hour, who) VALUES (:room, :hour, :who)",
    "UPDATE OR REPLACE booking SET hour = :hour WHERE room = :room",
    "UPDATE OR IGNORE booking SET who = :who",
    "DELETE FROM booking WHERE hour < :hour",
    "UPDATE counter SET n = n + 1",
    "INSERT INTO counter (n) SELECT hour FROM booking ORDER BY room, hour",
)


class Statements(Event):
    sql: list[str]
    parameters: dict[str, int | str]


def run_statements(tx: ViewTransaction, event: Statements) -> None:
    for sql in event.sql:
        used = {name: value for name, value in event.parameters.items() if f":{name}" in sql}
        tx.execute(sql, used)


RUN = Materializer.of(Statements, run_statements)


def at(n: int) -> Timestamp:
    return Timestamp(Hlc(n), DeviceKey(bytes(32)), EventHash(n.to_bytes(32, "big")))


@pytest.fixture
def connection() -> Iterator[apsw.Connection]:
    opened = connect(":memory:")
    yield opened
    opened.close()


def new_view(connection: apsw.Connection, tables: str = TABLES) -> View:
    view = View(connection, declare_tables(tables, is_float_allowed=False))
    view.create()
    return view


def drawn(rng: random.Random) -> Statements:
    return Statements(
        sql=rng.choices(STATEMENTS, k=rng.randint(1, 4)),
        parameters={
            "room": rng.choice(["a", "A", "b", "c"]),
            "room2": rng.choice(["a", "B", "c"]),
            "hour": rng.randint(1, 4),
            "who": rng.choice(["x", "yy", ""]),
        },
    )


@pytest.mark.parametrize("seed", range(300))
@pytest.mark.parametrize("guard", [Guard.SAVEPOINT, Guard.IMAGES])
def test_rewinding_any_number_of_events_restores_the_view_before_them(
    connection: apsw.Connection, seed: int, guard: Guard
) -> None:
    rng = random.Random(seed)
    view = new_view(connection)
    undos: list[bytes | None] = []
    digests = [view.digest()]
    connection.execute("BEGIN")
    for n in range(20):
        try:
            undos.append(view.apply(RUN, drawn(rng), at(n), 0, guard=guard)[0])
        except Rejection:
            undos.append(None)
            assert view.digest() == digests[-1], "a rejected event leaves nothing behind"
        digests.append(view.digest())

    kept = rng.randint(0, 20)
    view.rewind([undo for undo in undos[kept:] if undo is not None])

    assert view.digest() == digests[kept]
    # Constraints hold again afterwards: the suspension ended with the rewind.
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    with pytest.raises(apsw.ConstraintError):
        connection.execute("INSERT INTO booking (room, hour) VALUES ('nowhere', 1)")
    connection.execute("COMMIT")


def test_a_rejected_event_whose_rows_cannot_be_read_asks_to_be_judged_in_another_way(
    connection: apsw.Connection,
) -> None:
    view = new_view(connection)
    connection.execute("BEGIN")
    unreadable = Statements(sql=["INSERT INTO room VALUES ('a', 1, CAST(x'ff' AS TEXT))"], parameters={})

    with pytest.raises(Unreadable):
        view.apply(RUN, unreadable, at(1), 0, guard=Guard.IMAGES)
    connection.execute("ROLLBACK")
    connection.execute("BEGIN")
    with pytest.raises(Rejection, match="UnicodeDecodeError"):
        view.apply(RUN, unreadable, at(1), 0, guard=Guard.SAVEPOINT)

    assert connection.execute("SELECT count(*) FROM room").get == 0


def test_the_statements_reach_cascades_triggers_and_rejections(connection: apsw.Connection) -> None:
    """A test of the test above: what it draws from does what it is there for."""
    view = new_view(connection)
    connection.execute("BEGIN")
    for n, sql in enumerate(
        ["INSERT INTO room VALUES ('a', 1, '')", "INSERT INTO booking (room, hour) VALUES ('A', 5)", "DELETE FROM room"]
    ):
        view.apply(RUN, Statements(sql=[sql], parameters={}), at(n), 0)
        if n == 1:
            assert connection.execute("SELECT n FROM counter").get == 5
    assert connection.execute("SELECT count(*) FROM booking").get == 0
    assert connection.execute("SELECT count(*) FROM counter").get == 0
    with pytest.raises(Rejection, match="FOREIGN KEY"):
        view.apply(RUN, Statements(sql=["INSERT INTO booking (room, hour) VALUES ('z', 5)"], parameters={}), at(9), 0)


DEFERRED = """
CREATE TABLE parent (id INTEGER PRIMARY KEY) STRICT;
CREATE TABLE child (id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED) STRICT;
"""


def test_a_deferred_foreign_key_is_judged_at_the_end_of_its_own_event(connection: apsw.Connection) -> None:
    view = new_view(connection, DEFERRED)
    connection.execute("BEGIN")

    child_first = ["INSERT INTO child VALUES (1, 7)", "INSERT INTO parent VALUES (7)"]
    view.apply(RUN, Statements(sql=child_first, parameters={}), at(1), 0)
    with pytest.raises(Rejection, match="FOREIGN KEY constraint failed"):
        view.apply(RUN, Statements(sql=["INSERT INTO child VALUES (2, 8)"], parameters={}), at(2), 0)

    connection.execute("COMMIT")
    assert connection.execute("SELECT id FROM child").fetchall() == [(1,)]


def test_the_integer_key_after_which_sqlite_draws_at_random_is_refused(connection: apsw.Connection) -> None:
    view = new_view(connection)
    connection.execute("BEGIN")
    statement = f"INSERT INTO counter VALUES ({(1 << 63) - 1}, 0)"
    with pytest.raises(Rejection, match="at random"):
        view.apply(RUN, Statements(sql=[statement], parameters={}), at(1), 0)
    assert connection.execute("SELECT count(*) FROM counter").get == 0


class Rolled(Event):
    pass


def test_dice_ids_and_time_are_the_events_own(connection: apsw.Connection) -> None:
    view = new_view(connection)
    seen: list[tuple[object, ...]] = []

    def roll(tx: ViewTransaction, _: Rolled) -> None:
        seen.append((tx.random_int(1, 6), tx.new_id(), tx.random_bytes(40), tx.timestamp, tx.wall_ms))

    connection.execute("BEGIN")
    for n in (1, 1, 2):
        view.apply(Materializer.of(Rolled, roll), Rolled(), at(n), 99 + n)

    assert seen[0] == seen[1]
    assert seen[0][1:3] != seen[2][1:3]
    assert seen[2][3:] == (at(2), 101)


def test_a_transaction_object_that_outlives_its_materializer_is_refused(connection: apsw.Connection) -> None:
    view = new_view(connection)
    kept: list[ViewTransaction] = []

    def keep(tx: ViewTransaction, _: Rolled) -> None:
        kept.append(tx)

    connection.execute("BEGIN")
    view.apply(Materializer.of(Rolled, keep), Rolled(), at(1), 0)
    with pytest.raises(DriftlogError, match="after the materializer returned"):
        kept[0].execute("DELETE FROM room")


def test_the_environments_errors_are_nobodys_verdict(connection: apsw.Connection) -> None:
    view = new_view(connection)

    def fill(_: ViewTransaction, __: Rolled) -> None:
        raise apsw.FullError("database or disk is full")

    connection.execute("BEGIN")
    with pytest.raises(apsw.FullError):
        view.apply(Materializer.of(Rolled, fill), Rolled(), at(1), 0)


def test_a_reason_is_the_same_wherever_the_handler_raises(
    connection: apsw.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    view = new_view(connection)

    def poison(_: ViewTransaction, __: Rolled) -> None:
        raise ValueError(f"at {object()!r}")

    connection.execute("BEGIN")
    with pytest.raises(Rejection) as caught:
        view.apply(Materializer.of(Rolled, poison), Rolled(), at(1), 0)
    assert caught.value.reason.endswith("poison raised ValueError")
    assert "raised on Rolled" in caplog.text

    def refuse(_: ViewTransaction, __: Rolled) -> None:
        reject("x" * 10_000)

    with pytest.raises(Rejection) as caught:
        view.apply(Materializer.of(Rolled, refuse), Rolled(), at(1), 0)
    assert len(caught.value.reason) == 500
