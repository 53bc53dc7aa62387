"""What may be declared as local, and what is refused with which words."""

import pytest

from driftlog import App
from driftlog._sqlite.local import declare_local_tables
from driftlog._sqlite.tables import declare_tables
from driftlog.errors import InvalidApp

VIEW = "CREATE TABLE todo (id TEXT PRIMARY KEY) STRICT; CREATE INDEX by_id ON todo (id)"


def declared(sql: str) -> list[str]:
    return list(declare_local_tables(sql, declare_tables(VIEW, is_float_allowed=False)).statements)


def test_what_is_declared_is_kept_as_sqlite_writes_it() -> None:
    sql = "; create table if not exists Draft (x INT) strict; create index i on Draft (x); -- that is all"
    assert declared(sql) == ["CREATE TABLE Draft (x INT) strict", "CREATE INDEX i on Draft (x)"]
    assert declared("") == []


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE a (x REAL DEFAULT (julianday('now')), at TEXT DEFAULT CURRENT_TIMESTAMP) STRICT",
        "CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, x ANY) STRICT",
        "CREATE TABLE a (id TEXT PRIMARY KEY) STRICT; CREATE TABLE b (a TEXT REFERENCES a ON DELETE CASCADE) STRICT",
        "CREATE TABLE b (a TEXT REFERENCES a) STRICT; CREATE TABLE a (id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
        "CREATE TABLE a (x INT, y INT GENERATED ALWAYS AS (x + 1)) STRICT; CREATE UNIQUE INDEX i ON a (y) WHERE x > 0",
    ],
)
def test_what_devices_need_not_keep_alike_is_free(sql: str) -> None:
    assert declared(sql)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("CREATE TABLE a (x INT)", r"local table a is not STRICT.*write CREATE TABLE a \(\.\.\.\) STRICT"),
        ("CREATE TABLE a AS SELECT 1 AS x", "not STRICT"),
        ("CREATE VIEW a AS SELECT 1", "may hold only CREATE TABLE and CREATE INDEX; leave it out"),
        ("CREATE TEMP TABLE a (x INT) STRICT", "may hold only"),
        ("CREATE VIRTUAL TABLE a USING fts5 (x)", "may hold only"),
        ("CREATE TRIGGER t AFTER INSERT ON todo BEGIN SELECT 1; END", "may hold only"),
        ("INSERT INTO todo VALUES (1)", "may hold only"),
        ("DROP TABLE todo", "may hold only"),
        ("CREATE TABLE driftlog_a (x INT) STRICT", "names in driftlog_ are taken; choose another name"),
        ("CREATE TABLE sqlite_a (x INT) STRICT", "names in sqlite_ are taken"),
        ("CREATE TABLE main.a (x INT) STRICT", r"names the schema main; leave out `main\.`"),
        ("CREATE TABLE a (x INT UNIQUE ON CONFLICT ROLLBACK) STRICT", "undo events too; say ON CONFLICT ABORT"),
        (
            "CREATE TABLE a (x INT PRIMARY KEY, y INT REFERENCES a DEFERRABLE INITIALLY DEFERRED) STRICT",
            "leave out INITIALLY DEFERRED",
        ),
        (
            "CREATE TABLE a (x TEXT REFERENCES todo) STRICT",
            "foreign key to todo, which is made from events; leave it out",
        ),
        ("CREATE TABLE a (x TEXT REFERENCES b) STRICT", "foreign key to b, which is not declared"),
        ("CREATE TABLE a (x INT REFERENCES c (y)) STRICT; CREATE TABLE c (y INT) STRICT", "foreign key mismatch"),
        ("CREATE TABLE Todo (x INT) STRICT", "table Todo already exists|table .todo. already exists"),
        ("CREATE TABLE by_id (x INT) STRICT", "already an index named by_id"),
        ("CREATE TABLE a (x INT) STRICT; CREATE INDEX by_id ON a (x)", "index by_id already exists"),
        ("CREATE INDEX i ON todo (id)", "no such table: main.todo"),
        ("CREATE TABLE a (x INT) STRICT; CREATE TABLE a (x INT) STRICT", "already exists"),
        ("CREATE TABLE a (x NONSENSE) STRICT", "unknown datatype"),
        ("CREATE TABLE a (x INT) STRICT --" + "x" * 1_000_000, "limit 1000000"),
    ],
)
def test_what_would_reach_the_view_or_its_events_is_refused(sql: str, message: str) -> None:
    with pytest.raises(InvalidApp, match=message):
        declared(sql)


@pytest.mark.parametrize(
    "local_tables",
    [
        "CREATE TABLE Draft (id TEXT PRIMARY KEY) STRICT",
        "CREATE TABLE IF NOT EXISTS draft (id TEXT PRIMARY KEY) STRICT",
    ],
)
def test_the_view_has_no_foreign_key_to_a_local_table(local_tables: str) -> None:
    tables = "CREATE TABLE todo (id TEXT PRIMARY KEY REFERENCES draft) STRICT"
    with pytest.raises(InvalidApp, match="foreign key to draft, which is local to each device; leave it out"):
        App("org.example.todos", tables=tables, local_tables=local_tables)


@pytest.mark.parametrize(
    "tables",
    [
        "CREATE VIEW v AS SELECT * FROM draft",
        "CREATE TABLE t (id TEXT PRIMARY KEY) STRICT;CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM draft; END",
    ],
)
def test_the_view_does_not_read_or_write_local_tables_through_views_and_triggers(tables: str) -> None:
    with pytest.raises(InvalidApp, match=r"no such table: main\.draft"):
        App("org.example.todos", tables=tables, local_tables="CREATE TABLE draft (id TEXT PRIMARY KEY) STRICT")
