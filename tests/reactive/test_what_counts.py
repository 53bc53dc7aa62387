"""Conditions that seem to say which rows count and do not: each with a change that they would hide."""

import pytest

from driftlog import App, Event, Space, ViewTransaction
from driftlog._core.changes import Changes
from driftlog.errors import ForbiddenSQL

TABLES = """
CREATE TABLE item (id INTEGER PRIMARY KEY, bin TEXT, size INTEGER, label TEXT COLLATE NOCASE, any ANY) STRICT;
CREATE TABLE tally (bin TEXT PRIMARY KEY, items INTEGER) STRICT, WITHOUT ROWID;
CREATE TABLE shelf (id INTEGER PRIMARY KEY, size INTEGER, label TEXT) STRICT;
CREATE INDEX shelf_size ON shelf (size, label);
CREATE TABLE rung (height INTEGER, id TEXT, PRIMARY KEY (height DESC, id)) STRICT;
"""
LOCAL = """
CREATE TABLE seen (
  id INTEGER PRIMARY KEY, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, tag TEXT DEFAULT (hex(randomblob(4)))
) STRICT
"""


class Ran(Event):
    sql: str


def opened() -> Space:
    app = App("org.example.counting", tables=TABLES, floats=True, local_tables=LOCAL)

    @app.on(Ran)
    def ran(tx: ViewTransaction, event: Ran) -> None:
        tx.execute(event.sql)

    space = app.open(":memory:")
    space.append(
        Ran(sql="INSERT INTO item VALUES (1, 'a', 1, 'x', 1), (2, 'b', 2, 'y', 'z'), (3, 'c', 3, 'z', NULL)"),
        Ran(sql="INSERT INTO tally VALUES ('a', 1), ('b', 2)"),
        Ran(sql="INSERT INTO rung VALUES (1, 'a')"),
        Ran(sql="INSERT INTO shelf VALUES (1, 1, 'x'), (2, 2, 'y')"),
    )
    return space


CARELESS = [
    ("SELECT * FROM item WHERE size = 1 OR bin = 'b' AND id = 2", "UPDATE item SET label = 'new' WHERE id = 2"),
    ("SELECT * FROM item WHERE size BETWEEN 1 AND id = 0", "UPDATE item SET size = 0 WHERE id = 3"),
    ("SELECT * FROM item WHERE NOT 5 BETWEEN size AND id = 7", "UPDATE item SET size = 9 WHERE id = 1"),
    (
        "SELECT * FROM item WHERE CASE WHEN id = 9 AND size = 9 AND id = 8 THEN 0 ELSE 1 END",
        "UPDATE item SET label = 'new' WHERE id = 1",
    ),
    ("SELECT * FROM item WHERE label = 'X'", "UPDATE item SET size = 7 WHERE id = 1"),
    ("SELECT * FROM item WHERE bin COLLATE NOCASE = 'A'", "UPDATE item SET size = 7 WHERE id = 1"),
    ("SELECT * FROM item WHERE any = 1", "UPDATE item SET any = 1.0 WHERE id = 1"),
    ("SELECT id FROM item WHERE size = '1'", "UPDATE item SET size = 1 WHERE id = 2"),
    ("SELECT * FROM item WHERE id = 1 + 1", "UPDATE item SET size = 7 WHERE id = 2"),
    ("SELECT count(*) FROM item NATURAL JOIN tally", "UPDATE item SET bin = 'q' WHERE id = 1"),
    ("SELECT count(*) FROM item JOIN tally USING (bin)", "UPDATE item SET bin = 'q' WHERE id = 1"),
    ("SELECT i.id FROM item i LEFT JOIN tally t ON i.size = 9", "UPDATE item SET id = 7 WHERE id = 3"),
    ("SELECT label FROM item", "UPDATE item SET id = 0 WHERE id = 3"),
    (
        "SELECT a.id, b.id FROM item a, item b WHERE a.id = 1 AND b.size = 3",
        "UPDATE item SET size = 3 WHERE id = 2",
    ),
    ("SELECT id FROM item WHERE id = 1 UNION SELECT size + 9 FROM item", "UPDATE item SET size = 9 WHERE id = 3"),
    ("SELECT (SELECT max(size) FROM item) FROM item WHERE id = 1", "UPDATE item SET size = 9 WHERE id = 3"),
    ("SELECT id = 1 FROM item WHERE bin = 'a'", "UPDATE item SET bin = 'a' WHERE id = 3"),
    ("SELECT * FROM item WHERE rowid = 2", "UPDATE item SET size = 7 WHERE id = 2"),
    ("SELECT datetime('now', '-' || count(*) || ' days') IS NULL, max(size) FROM item", "UPDATE item SET size = 9"),
    ("SELECT name, (SELECT sum(size) FROM item) FROM pragma_table_list('item')", "UPDATE item SET size = 9"),
    ("SELECT label FROM shelf INDEXED BY shelf_size", "UPDATE shelf SET size = 9 WHERE id = 1"),
    ("SELECT count(*) FROM rung WHERE height = 1 OR id = 'b'", "INSERT INTO rung VALUES (2, 'b')"),
    ("SELECT count(*) FROM rung WHERE height = '1'", "UPDATE rung SET height = 5"),
    ("SELECT count(*) FROM item WHERE label = 'X'", "UPDATE item SET label = 'Z' WHERE id = 1"),
    ("SELECT count(*) FROM item WHERE any = 1", "UPDATE item SET any = 2 WHERE id = 1"),
    ("SELECT * FROM rung", "INSERT INTO rung VALUES (2, 'b')"),
    ("SELECT id, label, size FROM shelf WHERE size > 0", "UPDATE shelf SET size = 9 WHERE id = 1"),
    ("SELECT * FROM item WHERE id = 3 OR id = 1", "UPDATE item SET size = 9 WHERE id = 1"),
    ("SELECT id, label FROM item ORDER BY label, id", "UPDATE item SET label = 'Y' WHERE id = 3"),
    ("SELECT id, size AS bin, bin AS size FROM item ORDER BY bin, id", "UPDATE item SET size = 0 WHERE id = 3"),
    ("SELECT id, size AS 'bin', bin AS b FROM item ORDER BY bin, id", "UPDATE item SET size = 0 WHERE id = 3"),
    ("SELECT id, any FROM item ORDER BY any, id", "UPDATE item SET any = 0.5 WHERE id = 3"),
    ("SELECT id, bin FROM item ORDER BY bin COLLATE NOCASE, id", "UPDATE item SET bin = 'B' WHERE id = 3"),
    ("SELECT id ISNULL, id FROM item WHERE size = 3 ORDER BY id", "DELETE FROM item WHERE id = 3"),
    ("SELECT id, bin FROM item ORDER BY bin DESC NULLS FIRST, id", "UPDATE item SET bin = NULL WHERE id = 1"),
]


@pytest.mark.parametrize(("sql", "change"), CARELESS)
def test_a_change_that_a_careless_reading_would_pass_over_is_told(sql: str, change: str) -> None:
    tell(sql, change)


def tell(sql: str, change: str) -> None:
    with opened() as space:
        told: list[list[tuple[object, ...]]] = []
        space.subscribe(sql, lambda answer: told.append([tuple(row) for row in answer]))
        before = [tuple(row) for row in space.query(sql)]

        space.append(Ran(sql=change))

        after = [tuple(row) for row in space.query(sql)]
        assert before != after or "any = 1" in sql, "the change must matter"
        assert [list(map(repr, rows)) for rows in told] == [list(map(repr, rows)) for rows in (before, after)]


def test_a_sum_that_overflows_on_the_way_is_an_error_though_its_end_is_none() -> None:
    overflow_on_the_way()


def overflow_on_the_way() -> None:
    big = (1 << 62) + 5
    with opened() as space:
        told: list[object] = []
        failed: list[Exception] = []
        space.subscribe("SELECT sum(size) FROM shelf", lambda answer: told.append(answer[0][0]), on_error=failed.append)

        space.append(Ran(sql=f"UPDATE shelf SET size = {big} WHERE id = 1"))
        space.append(Ran(sql=f"UPDATE shelf SET size = -{big} WHERE id = 2"))
        space.append(Ran(sql=f"INSERT INTO shelf VALUES (0, {big}, 'z')"))

        assert told == [3, big + 2, 0]
        assert ["integer overflow" in str(error) for error in failed] == [True]


def test_a_parameter_that_is_called_as_those_of_a_looked_up_row_keeps_its_value() -> None:
    with opened() as space:
        told: list[list[object]] = []
        sql = "SELECT id, size FROM item WHERE size > :driftlog_key_0 ORDER BY id"
        space.subscribe(sql, lambda answer: told.append([row.id for row in answer]), {"driftlog_key_0": 0})

        space.append(Ran(sql="INSERT INTO item (id, size) VALUES (9, 5)"))

        assert told == [[1, 2, 3], [1, 2, 3, 9]]


def test_a_sum_that_has_lost_its_last_value_is_none() -> None:
    last_value_lost()


def last_value_lost() -> None:
    with opened() as space:
        told: list[object] = []
        space.subscribe("SELECT sum(size) FROM shelf", lambda answer: told.append(answer[0][0]))

        space.append(Ran(sql="UPDATE shelf SET size = 5 WHERE id = 1"))
        space.append(Ran(sql="DELETE FROM shelf"))

        assert told == [3, 7, None]


def test_whether_there_is_a_count_is_no_count() -> None:
    with opened() as space:
        told: list[object] = []
        space.subscribe("SELECT count(*) ISNULL FROM rung", lambda answer: told.append(answer[0][0]))

        space.append(Ran(sql="DELETE FROM rung"))

        assert told == [0]


@pytest.mark.parametrize(
    ("sql", "change"),
    [
        ("SELECT * FROM item WHERE id = 1", "UPDATE item SET size = 7 WHERE id = 2"),
        ("SELECT * FROM item WHERE (id IN (1, 3) AND size > 0)", "UPDATE item SET size = 7 WHERE id = 2"),
        ("SELECT id FROM item WHERE bin = 'a' ORDER BY id", "UPDATE item SET bin = 'q' WHERE id = 2"),
        ("SELECT size FROM item", "UPDATE item SET label = 'new'"),
        (
            "SELECT * FROM item JOIN tally t ON t.bin = item.bin WHERE item.bin = 'a'",
            "UPDATE tally SET items = 9 WHERE bin = 'b'",
        ),
        ("SELECT * FROM item", "UPDATE tally SET items = 9"),
    ],
)
def test_a_change_that_is_proved_irrelevant_runs_nothing(sql: str, change: str) -> None:
    with opened() as space:
        space.subscribe(sql, lambda _: None)
        live = space._engine.live
        taken: list[Changes | None] = []
        take = live._take
        live._take = lambda: taken.append(take())

        space.append(Ran(sql=change))

        [changes] = taken
        assert changes is None or list(live._index.affected(changes)) == []


def test_a_name_that_two_tables_know_says_nothing_of_either() -> None:
    with opened() as space:
        space.subscribe("SELECT items FROM item JOIN tally USING (bin) WHERE bin = 'a'", lambda _: None)

        [seen] = space._engine.live._reads.values()

        assert {name: table.conditions for name, table in seen.items()} == {"item": ({},), "tally": ({},)}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT unixepoch('now')",
        "SELECT id FROM seen WHERE at < CURRENT_TIMESTAMP",
        "SELECT * FROM pragma_table_list",
        "SELECT * FROM sqlite_schema",
    ],
)
def test_what_no_table_tells_about_is_run_again_after_every_transaction(sql: str) -> None:
    with opened() as space:
        space.subscribe(sql, lambda _: None)

        assert [watched.line.queries for watched in space._engine.live._always] == [1]


def test_the_default_of_a_column_is_no_part_of_the_query_that_reads_it() -> None:
    with opened() as space:
        told: list[list[int]] = []
        space.subscribe(
            "SELECT at, tag, id FROM seen ORDER BY id", lambda answer: told.append([row.id for row in answer])
        )

        assert list(space._engine.live._always) == []
        [watched] = space._engine.live._watched.values()
        assert watched.plan is not None
        with pytest.raises(ForbiddenSQL, match="randomblob"):
            space.subscribe("SELECT tag FROM seen WHERE tag <> hex(randomblob(4))", print)

        space.execute_local("INSERT INTO seen (id) VALUES (3)")

        assert told == [[], [3]]
