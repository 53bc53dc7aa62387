"""A materializer's SQL reaches the app's tables and nothing else, and gets the same answers everywhere."""

from collections.abc import Iterator

import apsw
import pytest

from driftlog._sqlite.confine import JSON_TABLES, Confinement, vet_statement
from driftlog._sqlite.sqltext import why_impure
from driftlog._sqlite.tables import declare_tables
from driftlog.errors import ForbiddenSQL

TABLES = """
CREATE TABLE todo (id TEXT PRIMARY KEY, text TEXT NOT NULL DEFAULT '', done INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE note (id INTEGER PRIMARY KEY, todo TEXT REFERENCES todo ON DELETE CASCADE ON UPDATE CASCADE) STRICT;
CREATE VIEW undone AS SELECT id, text FROM todo WHERE NOT done;
CREATE VIEW today AS SELECT date('now') AS day;
CREATE TRIGGER undone_insert INSTEAD OF INSERT ON undone BEGIN INSERT INTO todo (id) VALUES (NEW.id); END;
CREATE TRIGGER note_insert AFTER INSERT ON note BEGIN UPDATE todo SET done = 1 WHERE id = NEW.todo; END;
"""


@pytest.fixture
def db() -> Iterator[apsw.Connection]:
    connection = apsw.Connection(":memory:")
    connection.execute(
        "PRAGMA foreign_keys = ON; CREATE TABLE driftlog_log (seq INTEGER PRIMARY KEY); ATTACH ':memory:' AS b"
    )
    connection.execute("CREATE TABLE b.todo (id)")
    declared = declare_tables(TABLES, is_float_allowed=False)
    for statement in declared.statements:
        connection.execute(statement)
    connection.authorizer = Confinement(declared)
    yield connection
    connection.close()


def confined(db: apsw.Connection, sql: str) -> str | None:
    """Run it confined; give the reason of its refusal."""
    confinement = db.authorizer
    assert isinstance(confinement, Confinement)
    confinement.is_active = True
    try:
        db.execute(sql).fetchall()
    except apsw.Error:
        if confinement.reason is None:
            raise
    else:
        assert confinement.reason is None
    finally:
        confinement.is_active = False
    return confinement.take_reason()


# --- the text ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1", "select * from todo;", "-- why\nVALUES (1)", "WITH x AS (SELECT 1) SELECT * FROM x",
        "INSERT OR REPLACE INTO todo VALUES (?, ?, ?)", "REPLACE INTO todo VALUES (1)", "UPDATE todo SET done = 1 OR 0",
        "DELETE FROM todo", "INSERT INTO todo VALUES ('driftlog_ OR ROLLBACK; DROP')",
    ],
)  # fmt: skip
def test_one_statement_that_reads_or_writes_rows_is_let_through(sql: str) -> None:
    vet_statement(sql)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("", "0 statements"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("EXPLAIN SELECT 1", "begins with EXPLAIN"),
        ("PRAGMA foreign_keys", "begins with PRAGMA"),
        ("ATTACH 'x' AS y", "begins with ATTACH"),
        ("ROLLBACK", "begins with ROLLBACK"),
        ("SAVEPOINT a", "begins with SAVEPOINT"),
        ("CREATE TABLE x (a)", "begins with CREATE"),
        ("VACUUM", "begins with VACUUM"),
        ("(SELECT 1)", "begins with ("),
        ("SELECT * FROM driftlog_log", "driftlog_log"),
        ('SELECT * FROM main."driftlog_log"', "driftlog_log"),
        ("WITH Driftlog_x AS (SELECT 1) SELECT 1", "Driftlog_x"),
        ("SELECT * FROM sqlite_schema", "sqlite_schema"),
        ("INSERT OR ROLLBACK INTO todo VALUES (1)", "OR ROLLBACK"),
        ("UPDATE or/**/rollback todo SET done = 1", "OR ROLLBACK"),
    ],
)
def test_other_text_is_refused_and_the_error_says_what_was_wrong(sql: str, said: str) -> None:
    with pytest.raises(ForbiddenSQL) as caught:
        vet_statement(sql)

    assert said in str(caught.value)


# --- what SQLite asks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO todo (id) VALUES ('a') RETURNING id",
        "INSERT INTO todo (id) VALUES ('a') ON CONFLICT (id) DO UPDATE SET done = 1",
        "REPLACE INTO main.todo (id) VALUES ('a')",
        "UPDATE TODO SET text = text || upper(id), done = (SELECT count(*) FROM undone)",
        "UPDATE todo SET id = 'b'",
        "DELETE FROM todo",
        "DELETE FROM todo WHERE id = 'a'",
        "INSERT INTO note (todo) SELECT id FROM todo",
        "INSERT INTO undone (id) VALUES ('v')",
        "SELECT rowid, oid, * FROM note",
        "SELECT count(*) FROM todo",
        "SELECT count(*) FROM undone",
        "SELECT a.id, row_number() OVER (ORDER BY b.id) FROM undone AS a JOIN todo AS b USING (id)",
        "SELECT value FROM json_each('[1]') UNION ALL SELECT count(*) FROM json_tree('[1]')",
        "SELECT '{}' ->> 'a', json_group_array(id) FROM todo",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3) SELECT count(*) FROM n",
        "WITH x AS MATERIALIZED (SELECT 1 AS date) SELECT date FROM x",
        "VALUES (1)",
    ],
)
def test_the_apps_own_tables_may_be_read_and_written(db: apsw.Connection, sql: str) -> None:
    assert confined(db, sql) is None


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("INSERT INTO driftlog_log VALUES (1)", "write table driftlog_log"),
        ("DELETE FROM 'driftlog_log'", "write table driftlog_log"),
        ("UPDATE driftlog_log SET seq = 2", "driftlog_log"),
        ("SELECT seq FROM driftlog_log", "read table driftlog_log"),
        ("SELECT count(*) FROM driftlog_log", "read table driftlog_log"),
        ("SELECT count(*) FROM todo, 'DRIFTLOG_log'", "read table DRIFTLOG_log"),
        ("SELECT name FROM sqlite_schema", "read table sqlite_master"),
        ("SELECT count(*) FROM sqlite_temp_schema", "read table sqlite_temp_schema"),
        ("SELECT * FROM pragma_table_list", "pragma_table_list"),
        ("SELECT count(*) FROM pragma_module_list", "pragma_module_list"),
        ("SELECT id FROM b.todo", "read table todo"),
        ("DELETE FROM b.todo", "write table todo"),
        ("PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys"),
        ("ATTACH ':memory:' AS x", "ATTACH"),
        ("DETACH b", "DETACH"),
        ("BEGIN", "transaction"),
        ("SAVEPOINT x", "transaction"),
        ("CREATE TABLE x (a)", "write table sqlite_master"),
        ("CREATE TEMP TABLE x (a)", "write table sqlite_temp_master"),
        ("DROP TABLE todo", "sqlite_master"),
        ("ALTER TABLE todo ADD COLUMN x", "SQLITE_ALTER_TABLE"),
        ("ANALYZE", "sqlite_master"),
        ("REINDEX", "SQLITE_REINDEX"),
        ("CREATE VIRTUAL TABLE x USING fts5(a)", "sqlite_master"),
        ("SELECT random(), count(*) FROM driftlog_log", "tx.random_int(...)"),
        ('SELECT "RANDOM"()', "tx.random_int(...)"),
        ("SELECT date('now')", "tx.wall_ms"),
        ("SELECT CURRENT_TIMESTAMP", "tx.wall_ms"),
        ("INSERT INTO todo (id) VALUES (unixepoch())", "tx.wall_ms"),
        ("SELECT day FROM today", "tx.wall_ms (inside today)"),
        ("SELECT changes()", "call changes()"),
        ("SELECT sqlite_version()", "call sqlite_version()"),
        ("SELECT load_extension('x')", "call load_extension()"),
    ],
)
def test_whatever_lies_outside_is_refused_with_a_reason(db: apsw.Connection, sql: str, said: str) -> None:
    reason = confined(db, sql)

    assert reason is not None
    assert said in reason
    assert reason.startswith("it may not ")


def test_the_engine_itself_is_not_confined(db: apsw.Connection) -> None:
    db.execute("SAVEPOINT a; INSERT INTO driftlog_log VALUES (1); RELEASE a; SELECT random(), date('now')")

    assert db.execute("SELECT count(*) FROM driftlog_log").get == 1


def test_sqlite_does_not_ask_again_about_a_text_that_ran_unconfined_so_none_may(db: apsw.Connection) -> None:
    db.execute("SELECT random()").fetchall()

    assert confined(db, "SELECT random()") is None
    assert confined(db, "SELECT  random()") is not None


def test_a_reason_is_given_once(db: apsw.Connection) -> None:
    confinement = db.authorizer
    assert isinstance(confinement, Confinement)

    assert "random" in (confined(db, "SELECT random()") or "")
    assert confinement.take_reason() is None
    assert "sqlite_master" in (confined(db, "SELECT name FROM sqlite_schema") or "")


def test_a_refused_function_deep_in_a_statement_changes_nothing(db: apsw.Connection) -> None:
    confined(db, "INSERT INTO todo (id) VALUES ('a'), (hex(randomblob(4)))")

    assert db.execute("SELECT count(*) FROM todo").get == 0


def test_every_table_that_sqlite_brings_along_is_refused_even_when_only_counted(db: apsw.Connection) -> None:
    for name in ("dbstat", "fts3tokenize", "pragma_table_info", "pragma_database_list"):
        assert confined(db, f"SELECT count(*) FROM {name}('x')") is not None, name
    modules = {name for (name,) in db.execute("PRAGMA module_list")}
    # The rest needs CREATE VIRTUAL TABLE before it can be named in a statement.
    created = {"geopoly", "rtree", "rtree_i32", "fts3", "fts4", "fts5", "fts5vocab", "fts4aux"}
    assert {name for name in modules if not name.startswith("pragma_")} <= created | JSON_TABLES | {
        "dbstat",
        "fts3tokenize",
    }


ORDERLY = frozenset(
    [
        "avg", "count", "cume_dist", "dense_rank", "first_value", "group_concat", "lag", "last_value", "lead", "max",
        "median", "min", "nth_value", "ntile", "percent_rank", "percentile", "percentile_cont", "percentile_disc", "rank",
        "row_number", "string_agg", "sum", "total",
    ]
)  # fmt: skip
"""Aggregates and window functions: SQLite does not flag them deterministic, but rows alone decide their answer."""

NEEDS_VIRTUAL_TABLE = frozenset(
    [
        "bm25", "fts5", "fts5_get_locale", "fts5_insttoken", "fts5_locale", "geopoly_debug", "highlight", "match",
        "matchinfo", "offsets", "optimize", "rtreedepth", "rtreenode", "snippet",
    ]
)  # fmt: skip
"""Functions that fail, or read only their argument, without a virtual table."""


def test_every_function_not_flagged_deterministic_is_refused_or_accounted_for(
    db: apsw.Connection,
) -> None:
    deterministic = 0x800
    found = {row[0] for row in db.execute("PRAGMA function_list") if not row[5] & deterministic}

    assert {name for name in found if why_impure(name) is None} <= ORDERLY | NEEDS_VIRTUAL_TABLE
