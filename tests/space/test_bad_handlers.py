"""Apps that ask for what cannot be kept alike on every device: refused when declared, or when the handler tries.

A handler is refused event by event: its author sees `EventRejected` with the reason, and another device, which receives
such an event from an older version of the app, records it as rejected and goes on.
"""

import re
from collections.abc import Iterator

import pytest

from driftlog import App, Event, EventRejected, Space, State, ViewTransaction
from driftlog.errors import DriftlogError, ForbiddenSQL, InvalidApp
from driftlog.testing import exchange
from tests.todo_app import TABLES

REFUSED_TABLES = {
    "a table that is not STRICT": ("CREATE TABLE t (id TEXT PRIMARY KEY)", r"table t is not STRICT.*\(\.\.\.\) STRICT"),
    "a table without a key": ("CREATE TABLE t (n INTEGER) STRICT", "table t has no PRIMARY KEY.*add PRIMARY KEY"),
    "a float column": ("CREATE TABLE t (id TEXT PRIMARY KEY, price REAL) STRICT", r"t\.price.*cents, not euros"),
    "a clock": (
        "CREATE TABLE t (id TEXT PRIMARY KEY, at TEXT DEFAULT CURRENT_TIMESTAMP) STRICT",
        "table t uses CURRENT_TIMESTAMP.*write the value in the materializer",
    ),
    "dice": ("CREATE TABLE t (id INTEGER PRIMARY KEY, r INTEGER DEFAULT (random())) STRICT", r"uses random\(\)"),
    "a counter of its own": ("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT) STRICT", "AUTOINCREMENT"),
    "a virtual table": ("CREATE VIRTUAL TABLE t USING fts5(x)", "virtual tables .* cannot be rewound yet"),
    "a virtual column": (
        "CREATE TABLE t (id TEXT PRIMARY KEY, x INTEGER AS (length(id)) VIRTUAL) STRICT",
        r"column t\.x is generated and not stored.*add STORED",
    ),
    "the engine's name": ("CREATE TABLE driftlog_log (id TEXT PRIMARY KEY) STRICT", "names in driftlog_ are taken"),
    "a temporary table": ("CREATE TEMP TABLE t (id TEXT PRIMARY KEY) STRICT", "would be gone when the file is closed"),
    "rows": (
        "INSERT INTO t VALUES (1)",
        "may hold only CREATE TABLE, INDEX, VIEW and TRIGGER; materializers do the rest",
    ),
    "a table twice": (f"{TABLES}; {TABLES}", "SQLite refuses .*already exists; correct it"),
    "no SQL at all": ("milk, bread", "tables holds `milk, bread`"),
}


@pytest.mark.parametrize(("tables", "message"), REFUSED_TABLES.values(), ids=REFUSED_TABLES)
def test_tables_that_no_two_devices_could_keep_alike_are_refused_with_what_to_write(tables: str, message: str) -> None:
    with pytest.raises(InvalidApp, match=message):
        App("org.example.bad", tables=tables)


class Ran(Event):
    """Carries SQL, which no event of an app should: it lets one app be a hundred bad ones."""

    sql: str


class Kept(Event):
    id: str


TWO_TABLES = f"{TABLES}; CREATE TABLE note (id TEXT PRIMARY KEY) STRICT"


def app(*, is_fixed: bool = False) -> App:
    """Give the app, or a version of it in which the handler does no harm, so that its events can be made."""
    app = App("org.example.bad", tables=TWO_TABLES)

    @app.on(Ran)
    def ran(tx: ViewTransaction, event: Ran) -> None:
        tx.execute("INSERT INTO note (id) VALUES ('before')")
        if not is_fixed:
            tx.execute(event.sql)

    @app.on(Kept)
    def kept(tx: ViewTransaction, event: Kept) -> None:
        tx.execute("INSERT INTO todo (id, text) VALUES (?, '')", (event.id,))

    return app


FORBIDDEN = {
    "the engine's log": ("DELETE FROM driftlog_log", "names in driftlog_ belong to the engine"),
    "the schema": ("DELETE FROM sqlite_schema", "names in sqlite_ belong to the engine"),
    "a table that nobody declared": ("INSERT INTO elsewhere VALUES (1)", r"ran raised SQLError"),
    "a PRAGMA": ("PRAGMA user_version = 9", "begins with PRAGMA; it may begin with SELECT"),
    "a PRAGMA in a query": ("SELECT * FROM pragma_table_list", "may not read table pragma_table_list"),
    "ATTACH": ("ATTACH 'other.db' AS other", "begins with ATTACH"),
    "random()": ("INSERT INTO note (id) VALUES (random())", r"may not call random\(\)"),
    "the clock": ("INSERT INTO note (id) VALUES (datetime('now'))", r"may not call datetime\(\)"),
    "CURRENT_TIMESTAMP": ("INSERT INTO note (id) VALUES (CURRENT_TIMESTAMP)", "may not call"),
    "an extension": ("SELECT load_extension('evil.so')", r"may not call load_extension\(\)"),
    "a new table": ("CREATE TABLE x (id TEXT PRIMARY KEY) STRICT", "begins with CREATE"),
    "COMMIT": ("COMMIT", "begins with COMMIT"),
    "OR ROLLBACK": ("INSERT OR ROLLBACK INTO note (id) VALUES ('before')", "says OR ROLLBACK"),
    "two statements": ("SELECT 1; DELETE FROM todo", "holds 2 statements; execute one at a time"),
    "nothing": ("", "holds 0 statements"),
}


@pytest.mark.parametrize(("sql", "reason"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_a_handler_that_reaches_outside_the_apps_tables_has_its_event_rejected_with_the_reason(
    sql: str, reason: str
) -> None:
    with app().open(":memory:") as space:
        with pytest.raises(EventRejected, match=f"Ran was rejected: .*{reason}.*; nothing was appended"):
            space.append(Kept(id="1"), Ran(sql=sql))

        assert list(space.log()) == []
        assert space.query("SELECT id FROM todo UNION SELECT id FROM note") == []
        space.append(Kept(id="2"))
        assert space.query("SELECT id FROM todo") == [("2",)]


@pytest.mark.parametrize(("sql", "reason"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_received_from_a_device_with_another_handler_it_is_rejected_on_record_and_others_go_on(
    sql: str, reason: str
) -> None:
    with app(is_fixed=True).open(":memory:") as other, app().join(":memory:", other.invite()) as space:
        other.append(Ran(sql=sql), Kept(id="1"))

        exchange(other, space)

        assert [entry.state for entry in space.log()] == [State.REJECTED, State.APPLIED]
        [rejected] = space.query("SELECT name, reason FROM driftlog_rejected")
        assert rejected.name == "Ran"
        assert re.search(reason, rejected.reason), rejected.reason
        assert space.query("SELECT id FROM note") == []
        assert space.query("SELECT id FROM todo") == [("1",)]


def test_a_refused_statement_is_refused_again() -> None:
    # SQLite asks the authorizer when it compiles. Were the refused statement kept, its next use would not be asked about.
    with app().open(":memory:") as space:
        for _ in range(3):
            with pytest.raises(EventRejected, match=r"may not call random\(\)"):
                space.append(Ran(sql="INSERT INTO note (id) VALUES (random())"))


@pytest.fixture
def space_with_a_todo() -> Iterator[Space]:
    with app().open(":memory:") as space:
        space.append(Kept(id="0"))
        yield space


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO todo (id, text) VALUES ('1', '')",
        "WITH x AS (SELECT 1) DELETE FROM todo",
        "PRAGMA query_only = 0",
        "ATTACH ':memory:' AS x",
        "BEGIN",
        "SELECT 1; SELECT 2",
        "",
    ],
)
def test_a_query_changes_nothing(space_with_a_todo: Space, sql: str) -> None:
    with pytest.raises(ForbiddenSQL, match="to change the view, append an event"):
        space_with_a_todo.query(sql)

    assert space_with_a_todo.query("SELECT id FROM todo") == [("0",)]


def test_a_transaction_object_kept_beyond_its_event_is_of_no_use() -> None:
    stolen: list[ViewTransaction] = []
    thief = App("org.example.thief", tables=TABLES)

    @thief.on(Kept)
    def kept(tx: ViewTransaction, event: Kept) -> None:
        stolen.append(tx)

    with thief.open(":memory:") as space:
        space.append(Kept(id="1"))
        with pytest.raises(DriftlogError, match="a materializer's tx was used after the materializer returned"):
            stolen[0].execute("DELETE FROM todo")


def test_a_materializer_that_appends_is_told_so_and_undoes_nothing_else() -> None:
    app = App("org.example.reentrant", tables="CREATE TABLE note (id TEXT PRIMARY KEY) STRICT")
    spaces: list[Space] = []

    class Noted(Event):
        id: str

    @app.on(Noted)
    def noted(tx: ViewTransaction, event: Noted) -> None:
        tx.execute("INSERT INTO note VALUES (?)", (event.id,))
        if event.id == "echo":
            spaces[0].append(Noted(id="again"))

    with app.open(":memory:") as space:
        spaces.append(space)
        space.append(Noted(id="before"))

        with pytest.raises(EventRejected, match="raised DriftlogError") as caught:
            space.append(Noted(id="echo"))

        assert "a materializer used the space it runs in" in str(caught.value.__cause__)
        space.append(Noted(id="after"))
        assert space.query("SELECT id FROM note ORDER BY id") == [("after",), ("before",)]
