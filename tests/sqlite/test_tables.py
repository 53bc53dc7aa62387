"""What tables an app may declare, and that their SQL puts every row back exactly as the preupdate hook saw it."""

from collections.abc import Mapping

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog._sqlite.sqltext import fold, quote
from driftlog._sqlite.tables import SQL_CHARS_MAX, Table, TableSet, declare_tables
from driftlog.errors import InvalidApp

Value = int | float | str | bytes | None
Row = tuple[Value, ...]


def declared(sql: str, *, is_float_allowed: bool = False) -> TableSet:
    return declare_tables(sql, is_float_allowed=is_float_allowed)


def created(tables: TableSet) -> apsw.Connection:
    db = apsw.Connection(":memory:")
    for statement in tables.statements:
        db.execute(statement)
    return db


def refusal(sql: str) -> str:
    with pytest.raises(InvalidApp) as caught:
        declared(sql)
    return str(caught.value)


# --- what is refused --------------------------------------------------------------------------------------------------

T = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT) STRICT;"


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("DROP TABLE t", "may hold only CREATE TABLE"),
        ("PRAGMA foreign_keys = ON", "may hold only CREATE TABLE"),
        ("ATTACH 'x' AS y", "may hold only CREATE TABLE"),
        ("INSERT INTO t VALUES (1)", "may hold only CREATE TABLE"),
        ("EXPLAIN CREATE TABLE t (id INTEGER PRIMARY KEY) STRICT", "may hold only CREATE TABLE"),
        ("CREATE", "may hold only CREATE TABLE"),
        ("CREATE TEMP TABLE t (id INTEGER PRIMARY KEY) STRICT", "leave out TEMP"),
        ("CREATE VIRTUAL TABLE t USING fts5(a)", "cannot be rewound yet"),
        ("CREATE TABLE t AS SELECT 1", "AS SELECT"),
        ("CREATE TABLE", "has no name"),
        ("CREATE TABLE 't' (id INTEGER PRIMARY KEY) STRICT", "has no name"),
        (T + T, "already exists"),
        (T + T.replace("TABLE", "TABLE IF NOT EXISTS"), "already exists"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT DEFAULT '\0') STRICT", "SQLite refuses"),
        ("-" * (SQL_CHARS_MAX + 1), f"limit {SQL_CHARS_MAX}"),
        ("CREATE TABLE main.t (id INTEGER PRIMARY KEY) STRICT", "leave out `main.`"),
        ('CREATE TABLE "Temp" . t (id INTEGER PRIMARY KEY) STRICT', "leave out `Temp.`"),
        ("CREATE TABLE other.t (id INTEGER PRIMARY KEY) STRICT", "leave out `other.`"),
        (T + "CREATE VIEW v AS SELECT * FROM main.t", "leave out `main.`"),
        ("CREATE TABLE Driftlog_t (id INTEGER PRIMARY KEY) STRICT", "Driftlog_t"),
        ('CREATE TABLE "driftlog_t" (id INTEGER PRIMARY KEY) STRICT', "driftlog_t"),
        ("CREATE TABLE sqlite_t (id INTEGER PRIMARY KEY) STRICT", "sqlite_t"),
        (T + "CREATE INDEX driftlog_i ON t (a)", "driftlog_i"),
        (T + "CREATE TRIGGER r AFTER INSERT ON t BEGIN DELETE FROM driftlog_log; END", "driftlog_log"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY)", "table t is not STRICT"),
        ("CREATE TABLE t (id TEXT PRIMARY KEY) WITHOUT ROWID", "write CREATE TABLE t (...) STRICT"),
        ("CREATE TABLE t (id TEXT UNIQUE) STRICT", "table t has no PRIMARY KEY"),
        ("CREATE TABLE t (id TEXT) STRICT, WITHOUT ROWID", "PRIMARY KEY missing"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT) STRICT", "AUTOINCREMENT"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a REAL) STRICT", "column t.a has type REAL"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a any) STRICT", "App(..., floats=True)"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a INT AS (id) VIRTUAL) STRICT", "column t.a is generated"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a INT AS (id)) STRICT", "add STORED"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT DEFAULT CURRENT_TIMESTAMP) STRICT", "CURRENT_TIMESTAMP"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT DEFAULT current_date) STRICT", "tx.wall_ms"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a INT DEFAULT (random())) STRICT", "tx.random_int"),
        ('CREATE TABLE t (id INTEGER PRIMARY KEY, a INT DEFAULT ("Random" /* */ ())) STRICT', "tx.random_int"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT CHECK (a < date('now'))) STRICT", "date()"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT CHECK (a < sqlite_version())) STRICT", "sqlite_version"),
        (T + "CREATE INDEX i ON t (strftime('%Y', a))", "index i uses strftime()"),
        (T + "CREATE TRIGGER r AFTER INSERT ON t BEGIN UPDATE t SET a = unixepoch(); END", "trigger r uses unixepoch()"),
        (T + "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT last_insert_rowid(); END", "last_insert_rowid()"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY ON CONFLICT ROLLBACK) STRICT", "CONFLICT ROLLBACK"),
        (T + "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT RAISE(ROLLBACK, 'x'); END", "RAISE(ABORT"),
        (T + "CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT OR ROLLBACK INTO t VALUES (1, 2); END", "OR ABORT"),
        (T + "CREATE TRIGGER r AFTER INSERT ON t BEGIN DELETE FROM nope; END", "table t cannot be used"),
        (T + "CREATE TRIGGER r AFTER UPDATE OF a ON t BEGIN DELETE FROM nope; END", "nope"),
        (T + "CREATE TRIGGER r AFTER DELETE ON t BEGIN DELETE FROM nope; END", "nope"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY REFERENCES nope) STRICT", "table t cannot be used: no such table"),
        (T + "CREATE TABLE u (id INTEGER PRIMARY KEY, a TEXT REFERENCES t (a)) STRICT", "foreign key mismatch"),
        (T + "CREATE VIEW v AS SELECT nope FROM t", "view v cannot be used"),
    ],
)  # fmt: skip
def test_what_no_device_could_keep_is_refused_and_named(sql: str, said: str) -> None:
    assert said in refusal(sql)


# --- what is accepted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "; -- nothing\n",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, date TEXT, time INT, \"random\" INT CHECK (random IN (1, 2))) STRICT",
        """CREATE TABLE date (id INTEGER PRIMARY KEY) STRICT; CREATE INDEX i ON date (id);
        CREATE TABLE t (id INTEGER PRIMARY KEY REFERENCES date (id)) STRICT;
        CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO date (id) VALUES (1); END""",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT DEFAULT 'random() CURRENT_TIME OR ROLLBACK driftlog_') STRICT",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a INT GENERATED ALWAYS AS (id * 2) STORED) STRICT",
        T + "CREATE VIEW v AS SELECT date('now') AS day, random() AS r FROM t",
        T + "CREATE UNIQUE INDEX IF NOT EXISTS i ON t (a) WHERE a > ''; CREATE VIEW IF NOT EXISTS v AS SELECT 1",
        T + "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT RAISE(ABORT, 'x'); INSERT OR IGNORE INTO t VALUES (1, 2); END",
    ],
)  # fmt: skip
def test_what_every_device_can_keep_is_accepted(sql: str) -> None:
    created(declared(sql))


def test_floats_are_accepted_when_the_app_asks_for_them() -> None:
    tables = declared("CREATE TABLE t (id ANY PRIMARY KEY, a REAL) STRICT", is_float_allowed=True)

    assert tables.tables[0].loose == (0,)


@pytest.mark.parametrize(
    ("sql", "normalised"),
    [
        ("CREATE TABLE t (id TEXT PRIMARY KEY) STRICT", "CREATE TABLE t (id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID"),
        ("CREATE TABLE t (id INT PRIMARY KEY) STRICT", "CREATE TABLE t (id INT PRIMARY KEY) STRICT, WITHOUT ROWID"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY DESC) STRICT",
         "CREATE TABLE t (id INTEGER PRIMARY KEY DESC) STRICT, WITHOUT ROWID"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY) STRICT", None),
        ("CREATE TABLE t (id INTEGER, PRIMARY KEY (id DESC)) STRICT", None),
        ("CREATE TABLE t (id TEXT PRIMARY KEY) WITHOUT ROWID, STRICT", None),
        (" -- a;\nCREATE TABLE IF /**/ NOT EXISTS t (id TEXT, -- )\n PRIMARY KEY (id)) STRICT /* ; */ ; -- WITHOUT ROWID",
         "CREATE TABLE t (id TEXT, -- )\n PRIMARY KEY (id)) STRICT, WITHOUT ROWID"),
    ],
)  # fmt: skip
def test_a_table_gets_without_rowid_unless_its_key_is_the_rowid(sql: str, normalised: str | None) -> None:
    tables = declared(sql)

    assert tables.statements == (normalised or sql,)
    assert declared(tables.statements[0]) == tables
    assert tables.tables[0].is_rowid == ("WITHOUT ROWID" not in tables.statements[0])


def test_the_set_tells_names_triggers_foreign_keys_and_the_order_of_tables() -> None:
    plain = declared(T)
    rich = declared(
        "CREATE TABLE Zoo (id TEXT PRIMARY KEY, t INTEGER REFERENCES t DEFERRABLE INITIALLY DEFERRED) STRICT;"
        + T
        + "CREATE VIEW View1 AS SELECT 1; CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END"
    )

    assert [(table.name, table.index) for table in rich.tables] == [("t", 0), ("Zoo", 1)]
    assert rich.names == {"zoo", "t", "view1"}
    assert (plain.has_triggers, plain.has_foreign_keys, plain.has_deferred_foreign_keys) == (False, False, False)
    assert (rich.has_triggers, rich.has_foreign_keys, rich.has_deferred_foreign_keys) == (True, True, True)


@pytest.mark.parametrize(
    "when", ["", "NOT DEFERRABLE INITIALLY DEFERRED", "DEFERRABLE", "DEFERRABLE INITIALLY IMMEDIATE"]
)
def test_a_foreign_key_that_is_checked_at_once_is_not_called_deferred(when: str) -> None:
    tables = declared(f"CREATE TABLE t (id INTEGER PRIMARY KEY REFERENCES t {when}) STRICT")

    assert tables.has_foreign_keys
    assert not tables.has_deferred_foreign_keys


def test_the_fingerprint_ignores_space_and_comments_and_nothing_else() -> None:
    base = declared(T).fingerprint

    assert declared(" /* x */ CREATE\nTABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY,a TEXT)STRICT").fingerprint == base
    assert declared(T.replace("a TEXT", "a INT")).fingerprint != base
    assert declared(T.replace("a TEXT", "b TEXT")).fingerprint != base
    assert declared(T.replace("a TEXT", "a TEXT DEFAULT ' '")).fingerprint != base
    assert declared(T + "CREATE INDEX i ON t (a)").fingerprint != base


@pytest.mark.parametrize(
    ("more", "has_unique"),
    [("", False), (", UNIQUE (a)", True), (") STRICT; CREATE INDEX i ON t (a", False),
     (") STRICT; CREATE UNIQUE INDEX i ON t (a) WHERE (a > ''", True)],
)  # fmt: skip
def test_unique_values_beside_the_key_are_told(more: str, has_unique: bool) -> None:
    sql = f"CREATE TABLE t (id TEXT PRIMARY KEY, a TEXT{more})"
    tables = declared(sql if "STRICT" in sql else sql + " STRICT")

    assert tables.tables[0].has_unique == has_unique


# --- random tables and rows -------------------------------------------------------------------------------------------

NAMES = ["a", "B", "ä", "select", "two words", 'quo"te', "semi;colon", "date", "-- no", "x]`'", "x" * 40]
VALUES: Mapping[str, st.SearchStrategy[Value]] = {
    "INTEGER": st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1),
    "INT": st.integers(-3, 3),
    "TEXT": st.sampled_from(["", "a", "A", "a ", "ä", "Ä", "b"]) | st.text(st.characters(exclude_categories=["Cs"])),
    "BLOB": st.binary(max_size=3),
    "REAL": st.floats(allow_nan=False).map(lambda number: number + 0.0),
    "ANY": st.integers(0, 2) | st.sampled_from([0.0, 1.0, 1.5, "1", b"1"]),
}


@st.composite
def legal_tables(draw: st.DrawFn) -> tuple[str, list[str], list[str], list[int]]:
    """Draw a CREATE TABLE, its columns, their types ("" for a generated one) and its key."""
    columns = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique_by=fold))
    types = [draw(st.sampled_from(sorted(VALUES))) for _ in columns]
    key = draw(st.lists(st.sampled_from(range(len(columns))), min_size=1, max_size=3, unique=True))
    lines = []
    for name, kind in zip(columns, types, strict=True):
        collation = draw(st.sampled_from(["", "", " COLLATE NOCASE", " COLLATE RTRIM"]))
        comment = draw(st.sampled_from(["", " /* ) ; */", " -- STRICT (\n"]))
        lines.append(f"{quote(name)} {kind}{collation}{comment}")
    if draw(st.booleans()):
        at = draw(st.integers(0, len(columns)))
        lines.insert(at, f"generated TEXT AS (quote({quote(columns[0])})) STORED")
        columns.insert(at, "generated")
        types.insert(at, "")
        key = [column + (column >= at) for column in key]
    order = draw(st.sampled_from(["", " DESC"]))
    lines.append(f"PRIMARY KEY ({', '.join(quote(columns[column]) + order for column in key)})")
    table = draw(st.sampled_from(NAMES))
    options = draw(st.sampled_from(["STRICT", "strict , without rowid", "WITHOUT ROWID, STRICT"]))
    return f"CREATE TABLE {quote(table)} ({', '.join(lines)}\n) {options} -- end", columns, types, key


@given(legal_tables())
def test_any_legal_table_keeps_its_columns_and_key_and_reads_the_same_again(
    drawn: tuple[str, list[str], list[str], list[int]],
) -> None:
    sql, columns, types, key = drawn

    tables = declared(sql, is_float_allowed=True)

    [table] = tables.tables
    assert table.columns == tuple(columns)
    assert table.key == tuple(key)
    assert table.stored == tuple(at for at, kind in enumerate(types) if kind)
    assert declared(";".join(tables.statements), is_float_allowed=True) == tables


def content(db: apsw.Connection, table: Table) -> list[Row]:
    return db.execute(table.select_all_sql).fetchall()


def exactly(rows: list[Row]) -> str:
    return repr(rows)  # 1 == 1.0 in Python, so the comparison is of what is written


@given(st.data())
def test_rows_are_put_back_exactly_by_upserts_and_by_delete_then_insert(data: st.DataObject) -> None:
    sql, _, types, _ = data.draw(legal_tables())
    tables = declared(sql, is_float_allowed=True)
    [table] = tables.tables
    db = created(tables)
    values = st.tuples(*(VALUES[types[at]] for at in table.stored))
    key_at = [table.stored.index(at) for at in table.key]

    for row in data.draw(st.lists(values, max_size=6)):
        db.execute(table.upsert_sql, row)
    before = content(db, table)
    assert len(before) == db.execute(f"SELECT count(*) FROM {quote(table.name)}").get

    # Other rows, of which some overwrite: with upserts alone, every row of before is there again.
    for row in data.draw(st.lists(values, max_size=6)):
        db.execute(table.upsert_sql, row)
    for row in before:
        db.execute(table.upsert_sql, row)
    assert {exactly([row]) for row in before} <= {exactly([row]) for row in content(db, table)}

    rows = content(db, table)
    for left, row in enumerate(rows, 1):
        db.execute(table.delete_sql, [row[at] for at in key_at])
        assert len(content(db, table)) == len(rows) - left
    for row in before:
        db.execute(table.insert_sql, row)
    assert exactly(content(db, table)) == exactly(before)


def test_unique_values_that_were_swapped_are_put_back_by_delete_then_insert() -> None:
    tables = declared("CREATE TABLE t (id TEXT PRIMARY KEY, place INTEGER NOT NULL UNIQUE) STRICT")
    [table] = tables.tables
    db = created(tables)
    db.execute("INSERT INTO t VALUES ('a', 1), ('b', 2); UPDATE t SET place = 3 - place + 10 WHERE id = 'a'")
    db.execute("UPDATE t SET place = 1 WHERE id = 'b'; UPDATE t SET place = 2 WHERE id = 'a'")

    with pytest.raises(apsw.ConstraintError):
        db.execute(table.upsert_sql, ("a", 1))
    for key in ("a", "b"):
        db.execute(table.delete_sql, (key,))
    for row in (("a", 1), ("b", 2)):
        db.execute(table.insert_sql, row)

    assert content(db, table) == [("a", 1), ("b", 2)]


def test_putting_a_row_back_never_deletes_another_whatever_the_table_says_of_conflicts() -> None:
    tables = declared(
        "CREATE TABLE t (id TEXT PRIMARY KEY ON CONFLICT REPLACE, a INT UNIQUE ON CONFLICT REPLACE) STRICT"
    )
    [table] = tables.tables
    db = created(tables)
    db.execute("INSERT INTO t VALUES ('a', 1)")

    for sql in (table.insert_sql, table.upsert_sql):
        with pytest.raises(apsw.ConstraintError):
            db.execute(sql, ("b", 1))

    assert content(db, table) == [("a", 1)]


def test_a_key_that_changed_only_in_case_is_put_back_in_its_old_case() -> None:
    tables = declared("CREATE TABLE t (id TEXT COLLATE NOCASE PRIMARY KEY) STRICT")
    [table] = tables.tables
    db = created(tables)
    db.execute("INSERT INTO t VALUES ('a'); UPDATE t SET id = 'A'")

    db.execute(table.upsert_sql, ("a",))
    db.execute(table.delete_sql, ("A",))

    assert content(db, table) == [("a",)]


def test_a_row_is_deleted_through_the_index_of_its_key_under_any_collation() -> None:
    for collation in ("BINARY", "NOCASE", "RTRIM"):
        tables = declared(f"CREATE TABLE t (id TEXT COLLATE {collation} PRIMARY KEY, a TEXT) STRICT")
        plan = created(tables).execute(f"EXPLAIN QUERY PLAN {tables.tables[0].delete_sql}", ("x",)).fetchall()
        assert "SEARCH" in str(plan[0][3])


# --- the preupdate hook -----------------------------------------------------------------------------------------------

HOOKED = {
    "rowid": "CREATE TABLE t (g INT AS (n * 2) STORED, n INT, id INTEGER PRIMARY KEY, u TEXT UNIQUE) STRICT",
    "without rowid": "CREATE TABLE t (g INT AS (n * 2) STORED, n INT, id INT, u TEXT UNIQUE, PRIMARY KEY (id DESC)) STRICT",
    "wide key": "CREATE TABLE t (n INT, u TEXT UNIQUE, g INT AS (n * 2) STORED, id INT, PRIMARY KEY (id, u)) STRICT",
}


@pytest.mark.parametrize("sql", HOOKED.values(), ids=HOOKED.keys())
def test_the_hooks_images_are_rows_in_the_order_of_columns_and_undo_every_write(sql: str) -> None:
    tables = declared(sql)
    [table] = tables.tables
    db = created(tables)
    images: list[tuple[Row | None, Row | None]] = []

    def hook(update: apsw.PreUpdate) -> None:
        images.append((update.old if update.op != "INSERT" else None, update.new if update.op != "DELETE" else None))

    db.preupdate_hook(hook)
    everything = f"SELECT {', '.join(map(quote, table.columns))} FROM t ORDER BY id"
    states = [db.execute(everything).fetchall()]
    counts = []
    for write in (
        "INSERT INTO t (n, id, u) VALUES (1, 10, 'x'), (2, 20, 'y')",
        "UPDATE t SET n = n + 5",
        "UPDATE t SET id = 15 WHERE id = 20",
        "REPLACE INTO t (n, id, u) VALUES (3, 30, 'x')",  # takes the row with u = 'x' away
        "REPLACE INTO t (n, id, u) VALUES (4, 30, 'x')",
        "UPDATE OR REPLACE t SET u = 'y' WHERE id = 30",
        "INSERT INTO t (n, id, u) VALUES (9, 30, 'y') ON CONFLICT (u) DO UPDATE SET n = 0",
        "DELETE FROM t",
    ):
        images.clear()
        db.execute(write)
        before, after = states[-1], db.execute(everything).fetchall()
        gone, come = [old for old, _ in images if old], [new for _, new in images if new]
        assert set(gone) <= set(before)
        assert sorted({*before} - {*gone} | {*come}, key=repr) == sorted(after, key=repr)
        states.append(after)
        counts.append(list(images))

    db.preupdate_hook(None)
    for before, written in zip(reversed(states[:-1]), reversed(counts), strict=True):
        for old, new in reversed(written):
            if new:
                db.execute(table.delete_sql, [new[at] for at in table.key])
            if old:
                db.execute(table.upsert_sql, [old[at] for at in table.stored])
        assert db.execute(everything).fetchall() == before


def test_a_delete_compiled_before_the_hook_was_set_goes_unseen_so_the_hook_is_set_first() -> None:
    db = created(declared("CREATE TABLE t (id INTEGER PRIMARY KEY) STRICT"))
    seen: list[str] = []
    db.execute("DELETE FROM t")
    db.preupdate_hook(lambda update: seen.append(update.op))

    for write in ("INSERT INTO t VALUES (1)", "DELETE FROM t", "INSERT INTO t VALUES (1)", "DELETE  FROM t"):
        db.execute(write)

    assert seen == ["INSERT", "INSERT", "DELETE"]
