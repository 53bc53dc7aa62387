"""Local tables: written beside events, read with the view, kept through everything, and closed to materializers."""

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from driftlog import App, Event, EventRejected, Space, State, ViewTransaction
from driftlog.errors import Corrupt, DiskFull, ForbiddenSQL, LocalTablesChanged, ReadOnly
from driftlog.testing import exchange, fleet
from tests.space.disks import read_only

TODO = "CREATE TABLE todo (id TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT"
DRAFT = "CREATE TABLE draft (id TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT"


class TodoAdded(Event):
    id: str
    text: str


class Ran(Event):
    """Runs SQL as a materializer."""

    sql: str


def todos(local_tables: str = DRAFT, tables: str = TODO, more: str = "") -> App:
    app = App("org.example.todos", tables=tables, local_tables=local_tables)

    @app.on(TodoAdded)
    def todo_added(tx: ViewTransaction, event: TodoAdded) -> None:
        tx.execute("INSERT INTO todo (id, text) VALUES (?, ?)", (event.id, event.text + more))

    @app.on(Ran)
    def ran(tx: ViewTransaction, event: Ran) -> None:
        if event.sql.startswith(("SELECT", "WITH")):
            tx.execute("INSERT INTO todo (id, text) VALUES ('ran', ?)", (repr(tx.query(event.sql)),))
        else:
            tx.execute(event.sql)

    return app


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "todos.db"


@pytest.fixture
def space(path: Path) -> Iterator[Space]:
    with todos().open(path) as space:
        space.execute_local("INSERT INTO draft VALUES (?, ?)", ("1", "mil"))
        yield space


def drafts(space: Space) -> list[tuple[object, ...]]:
    return [tuple(row) for row in space.query("SELECT id, text FROM draft ORDER BY id")]


# --- writing and reading ----------------------------------------------------------------------------------------------


def test_a_draft_goes_as_its_event_is_appended_or_neither_happens(space: Space) -> None:
    with space.transaction() as tx:
        tx.append(TodoAdded(id="1", text="milk"))
        tx.execute_local("DELETE FROM draft WHERE id = :id", {"id": "1"})
        assert tx.query("SELECT * FROM draft") == []
    assert drafts(space) == []

    def fail() -> None:
        with space.transaction() as tx:
            tx.execute_local("INSERT INTO draft VALUES ('2', 'bre')")
            tx.append(TodoAdded(id="1", text="again"))

    with pytest.raises(EventRejected):
        fail()
    assert drafts(space) == []


def test_a_query_joins_local_tables_with_the_view(space: Space) -> None:
    space.append(TodoAdded(id="1", text="milk"))
    assert space.query("SELECT todo.text, draft.text AS draft FROM todo JOIN draft USING (id)") == [("milk", "mil")]


def test_what_breaks_a_constraint_is_undone_alone_and_the_transaction_goes_on(space: Space) -> None:
    with space.transaction() as tx:
        tx.append(TodoAdded(id="1", text="milk"))
        with pytest.raises(apsw.ConstraintError):
            tx.execute_local("INSERT INTO draft VALUES ('2', 'x'), ('1', 'y')")
        tx.execute_local("INSERT INTO draft VALUES ('3', 'egg')")
    assert drafts(space) == [("1", "mil"), ("3", "egg")]
    assert len(space.query("SELECT * FROM todo")) == 1


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM todo",
        "INSERT INTO todo VALUES ('x', 'y')",
        "UPDATE draft SET text = (SELECT text FROM todo)",
        "INSERT INTO draft SELECT id, text FROM todo",
        "INSERT INTO draft SELECT 'n', count(*) FROM todo",
        "WITH t AS (SELECT * FROM todo) INSERT INTO draft SELECT * FROM t",
        "DELETE FROM driftlog_log",
        'DELETE FROM "driftlog_meta"',
        "DELETE FROM sqlite_schema",
        "DELETE FROM main.todo",
        "SELECT * FROM draft",
        "WITH t AS (SELECT 1) SELECT * FROM t",
        "DROP TABLE draft",
        "PRAGMA user_version = 9",
        "ATTACH 'x' AS x",
        "COMMIT",
        "DELETE FROM draft; DELETE FROM todo",
        "INSERT OR ROLLBACK INTO draft VALUES ('1', '2')",
        "DELETE FROM nowhere",
        "",
    ],
)
def test_sql_on_local_tables_reaches_no_others(space: Space, sql: str) -> None:
    space.append(TodoAdded(id="1", text="milk"))
    before = space.digest()
    with pytest.raises(ForbiddenSQL):
        space.execute_local(sql)
    assert space.digest() == before
    # Said once more inside a transaction that goes on: nothing of it stays.
    with space.transaction() as tx:
        with pytest.raises(ForbiddenSQL):
            tx.execute_local(sql)
        tx.append(TodoAdded(id="2", text="bread"))
    assert drafts(space) == [("1", "mil")]
    assert len(space.query("SELECT * FROM todo")) == 2


def test_what_one_app_may_write_is_not_what_another_may() -> None:
    sql = "INSERT INTO draft VALUES ('1', 'mil')"
    with todos().open(":memory:") as space:
        space.execute_local(sql)

    with (
        todos(DRAFT.replace("draft", "note")).open(":memory:") as space,
        pytest.raises(ForbiddenSQL, match="no such table"),
    ):
        space.execute_local(sql)


def test_the_message_says_what_to_use(space: Space) -> None:
    with pytest.raises(ForbiddenSQL, match=r"no such table: todo; use tables declared in App\(local_tables"):
        space.execute_local("DELETE FROM todo")
    with pytest.raises(ForbiddenSQL, match=r"only reads; ask it with query"):
        space.execute_local("SELECT * FROM draft")


def test_clocks_floats_and_numbered_rows_are_allowed_here(path: Path) -> None:
    app = todos("CREATE TABLE seen (at REAL NOT NULL DEFAULT (julianday('now')), n ANY) STRICT")
    with app.open(path) as space:
        space.execute_local("INSERT INTO seen (n) VALUES (random()), (0.5)")
        assert space.query("SELECT rowid FROM seen WHERE at > 0") == [(1,), (2,)]


# --- materializers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT text FROM draft", "may not read draft, which is local"),
        ("SELECT count(*) FROM draft", "may not read draft, which is local"),
        ("SELECT count(*) FROM main.draft", "may not read draft, which is local"),
        ("SELECT EXISTS (SELECT 1 FROM Draft)", "may not read Draft, which is local"),
        ("WITH d AS (SELECT count(*) AS n FROM draft) SELECT n FROM d", "may not read draft, which is local"),
        ("INSERT INTO todo SELECT 'x', 'y' FROM draft", "may not read draft, which is local"),
        ("INSERT INTO draft VALUES ('x', 'y')", "may not write draft, which is local"),
        ("DELETE FROM draft", "may not write draft, which is local"),
        ("UPDATE todo SET text = (SELECT text FROM draft)", "may not read draft, which is local"),
    ],
)
def test_a_materializer_neither_reads_nor_writes_local_tables(space: Space, sql: str, reason: str) -> None:
    # The very text may have been run by the app before.
    if sql == "DELETE FROM draft":
        space.execute_local(sql)
        space.execute_local("INSERT INTO draft VALUES ('1', 'mil')")
    elif sql.startswith("SELECT"):
        space.query(sql)
    with pytest.raises(EventRejected, match=reason):
        space.append(Ran(sql=sql))
    assert drafts(space) == [("1", "mil")]


def test_a_materializers_own_with_may_bear_the_name_of_a_local_table(space: Space) -> None:
    space.append(Ran(sql="WITH draft AS (SELECT 1 UNION ALL SELECT 2) SELECT count(*) FROM draft"))
    assert space.query("SELECT text FROM todo") == [("[Row(count(*)=2)]",)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM draft",
        "SELECT text FROM main.draft",
        "UPDATE todo SET text = (SELECT text FROM draft)",
        "INSERT INTO draft VALUES ('x', 'y')",
        "DELETE FROM draft",
    ],
)
def test_a_local_table_that_is_no_longer_declared_is_as_if_it_were_not_there_for_materializers(
    path: Path, sql: str
) -> None:
    """Devices that never had it must judge alike."""
    with todos().open(path) as space:
        space.execute_local("INSERT INTO draft VALUES ('1', 'mil')")
    with todos("").open(path) as space, todos("").open(":memory:") as other:
        for each in (space, other):
            with pytest.raises(EventRejected, match="ran raised SQLError"):
                each.append(Ran(sql=sql))


# --- devices, rebuilds and versions -----------------------------------------------------------------------------------


def test_local_rows_stay_on_their_device_and_out_of_the_digest() -> None:
    a, b = fleet(todos(), 2)
    a.append(TodoAdded(id="1", text="milk"))
    a.execute_local("INSERT INTO draft VALUES ('1', 'x')")
    exchange(a, b)
    assert a.digest() == b.digest()
    assert drafts(b) == []


def test_local_rows_survive_rebuilds_and_updates_of_the_app(path: Path) -> None:
    with todos().open(path) as space:
        space.append(TodoAdded(id="1", text="milk"))
        space.execute_local("INSERT INTO draft VALUES ('1', 'mil')")
        space.rebuild()
        assert drafts(space) == [("1", "mil")]
    with todos(tables=f"{TODO}; CREATE INDEX by_text ON todo (text)", more="!").open(path) as space:
        assert space.query("SELECT todo.text FROM todo") == [("milk!",)]
        assert drafts(space) == [("1", "mil")]


def must_not_be_told(_: int, __: int) -> None:
    raise AssertionError("nothing is rebuilt")


def test_other_local_tables_rebuild_nothing(path: Path) -> None:
    with todos("").open(path) as space:
        space.append(TodoAdded(id="1", text="milk"))
    with todos().open(path, progress=must_not_be_told) as space:
        space.execute_local("INSERT INTO draft VALUES ('1', 'mil')")
    more = f"{DRAFT}; CREATE INDEX newest ON draft (text); CREATE TABLE place (x INTEGER) STRICT"
    with todos(more).open(path, progress=must_not_be_told) as space:
        assert drafts(space) == [("1", "mil")]
        space.execute_local("INSERT INTO place VALUES (3)")
        assert space.query("SELECT name FROM sqlite_schema WHERE name = 'newest'") == [("newest",)]
    with todos().open(path, progress=must_not_be_told) as space:
        assert space.query("SELECT name FROM sqlite_schema WHERE name = 'newest'") == []


def test_a_table_that_is_no_longer_declared_keeps_its_rows_and_is_there_again_when_it_is(path: Path) -> None:
    with todos(f"{DRAFT}; CREATE UNIQUE INDEX by_text ON draft (text)").open(path) as space:
        space.execute_local("INSERT INTO draft VALUES ('1', 'mil')")
    # The index's name is free for others, as it holds nothing of its own.
    with todos("", f"{TODO}; CREATE INDEX by_text ON todo (text)").open(path) as space:
        assert drafts(space) == [("1", "mil")]
        with pytest.raises(ForbiddenSQL, match="no such table: draft"):
            space.execute_local("DELETE FROM draft")
        space.rebuild()
    with todos(f"{DRAFT}; CREATE UNIQUE INDEX by_text ON draft (text)").open(path) as space:
        assert drafts(space) == [("1", "mil")]
        with pytest.raises(apsw.ConstraintError):
            space.execute_local("INSERT INTO draft VALUES ('2', 'mil')")


def test_a_table_that_is_no_longer_declared_outlives_other_declarations_and_rebuilds(path: Path) -> None:
    with todos().open(path) as space:
        space.execute_local("INSERT INTO draft VALUES ('1', 'mil')")
    with todos("CREATE TABLE place (x INTEGER) STRICT").open(path) as space:
        space.rebuild()
        assert drafts(space) == [("1", "mil")]


def test_only_space_and_comments_are_no_change(path: Path) -> None:
    with todos().open(path) as space:
        space.execute_local("INSERT INTO draft VALUES ('1', 'mil')")
    again = "CREATE TABLE IF NOT EXISTS draft( id TEXT PRIMARY KEY, -- of the todo\n text TEXT NOT NULL )STRICT;"
    with todos(again).open(path) as space:
        assert drafts(space) == [("1", "mil")]


WIDER = "CREATE TABLE draft (id TEXT PRIMARY KEY, text TEXT NOT NULL, at INTEGER) STRICT"


@pytest.mark.parametrize(
    "app",
    [
        todos(WIDER),
        todos(WIDER, more="!"),
        todos("", f"{TODO}; {DRAFT}"),
        todos("", f"{TODO}; CREATE INDEX draft ON todo (text)"),
    ],
    ids=["otherwise", "otherwise, and the view too", "in the view", "an index's name in the view"],
)
def test_a_local_table_that_is_declared_otherwise_is_refused_and_nothing_is_lost(path: Path, app: App) -> None:
    with todos().open(path) as space:
        space.append(TodoAdded(id="1", text="milk"))
        space.execute_local("INSERT INTO draft VALUES ('1', 'mil')")

    with pytest.raises(LocalTablesChanged, match=r"todos\.db has .*(another name).*the file was left as it is"):
        app.open(path, progress=must_not_be_told)

    with todos().open(path, progress=must_not_be_told) as space:
        assert drafts(space) == [("1", "mil")]


def test_rows_move_to_a_table_of_another_name(path: Path) -> None:
    with todos().open(path) as space:
        space.execute_local("INSERT INTO draft VALUES ('1', 'mil')")
    with todos(f"{DRAFT}; {WIDER.replace('draft', 'draft2')}").open(path) as space:
        space.execute_local("INSERT INTO draft2 SELECT id, text, 0 FROM draft")
        assert space.query("SELECT * FROM draft2") == [("1", "mil", 0)]


def test_an_index_that_the_rows_do_not_fit_is_refused_and_nothing_changes(path: Path) -> None:
    with todos().open(path) as space:
        space.execute_local("INSERT INTO draft VALUES ('1', 'x'), ('2', 'x')")
    with pytest.raises(LocalTablesChanged, match="UNIQUE constraint failed"):
        todos(f"{DRAFT}; CREATE UNIQUE INDEX by_text ON draft (text)").open(path)
    with todos().open(path) as space:
        assert drafts(space) == [("1", "x"), ("2", "x")]


def test_a_name_may_pass_from_the_view_to_a_local_table(path: Path) -> None:
    with todos("", f"{TODO}; {DRAFT}").open(path) as space:
        space.append(TodoAdded(id="1", text="milk"))
    with todos().open(path) as space:
        space.execute_local("INSERT INTO draft VALUES ('1', 'mil')")
        space.rebuild()
        assert drafts(space) == [("1", "mil")]


def test_an_older_process_that_rebuilds_leaves_a_newer_ones_local_tables(path: Path) -> None:
    with todos("").open(path) as older, todos().open(path) as newer:
        newer.execute_local("INSERT INTO draft VALUES ('1', 'mil')")
        older.rebuild()
        assert drafts(newer) == [("1", "mil")]
        with pytest.raises(EventRejected, match="ran raised SQLError"):
            older.append(Ran(sql="SELECT count(*) FROM draft"))


# --- the machine ------------------------------------------------------------------------------------------------------


def test_a_full_disk_and_a_read_only_file_are_named_as_for_events(tmp_path: Path) -> None:
    directory = tmp_path / "place"
    directory.mkdir()
    path = directory / "todos.db"
    with todos().open(path) as space:
        connection = space._engine._connection
        connection.pragma("max_page_count", 1)
        with pytest.raises(DiskFull):
            space.execute_local("INSERT INTO draft VALUES ('1', ?)", ("x" * 100_000,))
        connection.pragma("max_page_count", 1 << 30)
        space.execute_local("INSERT INTO draft VALUES ('1', 'mil')")
    with read_only(directory), todos().open(path) as space:
        assert drafts(space) == [("1", "mil")]
        with pytest.raises(ReadOnly):
            space.execute_local("DELETE FROM draft")


def test_a_late_event_rewinds_the_view_and_not_the_local_tables() -> None:
    a, b = fleet(todos(), 2, clocks=[lambda: 2_000, lambda: 1_000])
    a.append(TodoAdded(id="1", text="milk"))
    a.execute_local("INSERT INTO draft VALUES ('1', 'mil')")
    b.append(TodoAdded(id="1", text="earlier"))
    exchange(a, b)
    assert [entry.state for entry in a.log()] == [State.APPLIED, State.REJECTED]
    assert drafts(a) == [("1", "mil")]


@pytest.mark.parametrize("column", ["name", "tbl_name", "sql"])
def test_a_list_of_tables_that_rot_made_no_text_is_called_damaged(tmp_path: Path, column: str) -> None:
    path = tmp_path / "todos.db"
    todos().open(path).close()
    connection = apsw.Connection(str(path))
    connection.pragma("writable_schema", "on")
    connection.execute(f"UPDATE sqlite_schema SET {column} = CAST({column} AS BLOB) WHERE name = 'draft'")
    connection.close()

    with pytest.raises(Corrupt, match="run repair"):
        todos().open(path)
