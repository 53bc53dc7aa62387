"""What a statement reads is found out once for an app, and is another answer for other tables."""

import apsw
import pytest

from driftlog import App, Event, ViewTransaction
from driftlog._sqlite.connection import connect
from driftlog._sqlite.tables import declare_tables
from driftlog._store import known
from driftlog._store.known import known_of
from driftlog._store.program import Materializer
from driftlog._store.view import View
from driftlog.errors import EventRejected
from tests.store.test_view import at

BY_ID = "SELECT name FROM room WHERE id = ?"


class Asked(Event):
    sql: str


def ask(tx: ViewTransaction, event: Asked) -> None:
    tx.query(event.sql, ("a",))


def explained(tables: str, *texts: str) -> list[str]:
    """Run queries in a materializer, on a file of its own, and give those that SQLite was asked to explain."""
    connection = connect(":memory:")
    view = View(connection, declare_tables(tables, is_float_allowed=False))
    view.create()
    seen: list[str] = []

    def trace(_: apsw.Cursor, sql: str, __: object) -> bool:
        seen.append(sql)
        return True

    connection.exec_trace = trace
    connection.execute("BEGIN")
    for number, sql in enumerate(texts, 1):
        view.apply(Materializer.of(Asked, ask), Asked(sql=sql), at(number), 0)
    connection.close()
    return [sql.removeprefix("EXPLAIN QUERY PLAN ") for sql in seen if sql.startswith("EXPLAIN")]


def test_a_statement_is_asked_about_once_for_all_files_of_an_app() -> None:
    tables = "CREATE TABLE room (id TEXT PRIMARY KEY, name TEXT NOT NULL, once INTEGER) STRICT"

    assert explained(tables, BY_ID, BY_ID) == [BY_ID]
    assert explained(tables, BY_ID) == []


def test_a_text_reads_something_else_of_other_tables() -> None:
    by_id = declare_tables("CREATE TABLE room (id TEXT PRIMARY KEY, name TEXT) STRICT", is_float_allowed=False)
    by_name = declare_tables("CREATE TABLE room (id TEXT, name TEXT PRIMARY KEY) STRICT", is_float_allowed=False)
    for tables in (by_id, by_name):
        explained("".join(tables.statements), BY_ID)

    one, other = (known_of(tables.fingerprint, frozenset()).get(BY_ID) for tables in (by_id, by_name))

    assert one is not None
    assert other is not None
    assert one.row is not None
    assert one.reads == ()
    assert other.row is None
    assert other.reads == ((0,),)


def test_what_is_remembered_of_an_app_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "TEXTS_MAX", 3)
    tables = "CREATE TABLE room (id TEXT PRIMARY KEY, name TEXT NOT NULL, bounded INTEGER) STRICT"
    texts = [f"SELECT {number} FROM room WHERE id = ?" for number in range(4)]

    assert explained(tables, *texts) == texts
    assert explained(tables, texts[3], texts[0]) == [texts[0]]


def test_a_statement_on_a_local_table_is_refused_by_every_file_whatever_another_has_allowed() -> None:
    def declare(tables: str, local_tables: str) -> App:
        app = App("org.example.known", tables=tables, local_tables=local_tables)
        app.on(Asked)(ask)
        return app

    room = "CREATE TABLE room (id TEXT PRIMARY KEY, name TEXT NOT NULL, refused INTEGER) STRICT"
    sql = "SELECT name FROM draft WHERE id = ?"
    draft = "CREATE TABLE draft (id TEXT PRIMARY KEY, name TEXT) STRICT"
    with declare(f"{room}; {draft}", "").open(":memory:") as space:
        space.append(Asked(sql=sql))

    for _ in range(2):
        with (
            declare(room, draft).open(":memory:") as space,
            pytest.raises(EventRejected, match="draft, which is local"),
        ):
            space.append(Asked(sql=sql))
