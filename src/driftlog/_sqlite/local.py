"""Tables for one device alone: what may be declared, and what SQL on them may name.

Drafts, window positions, what was read last: never synced, in no digest, not made from events. So no device has to keep
them alike, and much that the view's tables may not do is allowed: clocks, floats, a numbered rowid. What is refused is what
would reach the view or the event that is being applied: foreign keys across, deferred ones, ON CONFLICT ROLLBACK.

SQLite is the parser here too. Left out: views and triggers, which could tie them to the view.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import apsw

from driftlog._sqlite.confine import vet_statement
from driftlog._sqlite.reading import is_query
from driftlog._sqlite.rows import Parameters
from driftlog._sqlite.scratch import scratch
from driftlog._sqlite.sqltext import (
    Token,
    excerpt,
    first_keyword,
    fold,
    has_words,
    quote,
    reserved_name,
    source,
    statements,
    tokens,
)
from driftlog._sqlite.tables import TableSet
from driftlog.errors import ForbiddenSQL, InvalidApp

LOCAL_SQL_CHARS_MAX = 1_000_000
"""As for the view's tables."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A table or index, and the statement that makes it, as SQLite keeps it."""

    name: str
    sql: str

    def is_as(self, sql: str) -> bool:
        """Tell whether other text declares the same; space and comments do not count."""
        return self.sql == sql or _texts(self.sql) == _texts(sql)


@dataclass(frozen=True, slots=True)
class LocalTables:
    """All that an app declares as local. `names` are those of the tables, folded."""

    tables: tuple[Declared, ...] = ()
    indexes: tuple[Declared, ...] = ()
    names: frozenset[str] = frozenset()

    @property
    def statements(self) -> tuple[str, ...]:
        """Give what makes them, in order."""
        return tuple(item.sql for item in (*self.tables, *self.indexes))

    def vet(self, sql: str, parameters: Parameters) -> None:
        """Raise `ForbiddenSQL` unless the text is one statement on these tables and no others. Cache the answer per text.

        It is compiled in a database that has these tables and nothing else, so nothing in it can mean another one.
        """
        vet_statement(sql)
        if is_query(sql):
            raise ForbiddenSQL(f"`{excerpt(sql)}` only reads; ask it with query(...)")
        with scratch(self.statements) as connection:
            try:
                connection.execute(f"EXPLAIN {sql}", parameters)
            except apsw.SQLError as error:
                raise ForbiddenSQL(
                    f"`{excerpt(sql)}`, looking at local tables only: {error}; "
                    "use tables declared in App(local_tables=...), and append an event to change the view"
                ) from error


NO_LOCAL_TABLES = LocalTables()


def declare_local_tables(sql: str, view: TableSet) -> LocalTables:
    """Read an app's local CREATE TABLE and CREATE INDEX statements, or raise `InvalidApp`. `view` is what else it has."""
    if len(sql) > LOCAL_SQL_CHARS_MAX:
        raise InvalidApp(f"local_tables is {len(sql)} characters long (limit {LOCAL_SQL_CHARS_MAX}); shorten it")
    for statement in statements(sql):
        _check_statement(source(sql, statement), statement)
    # With the view's beside them: one name has one meaning in the file.
    with scratch(view.statements) as connection:
        for statement in statements(sql):
            _run(connection, source(sql, statement))
    with scratch(()) as connection:
        for statement in statements(sql):
            _run(connection, source(sql, statement))
        # SQL: what was made, as SQLite keeps it: IF NOT EXISTS is gone. Indexes that belong to a constraint have no text.
        listed = connection.execute(
            "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        ).fetchall()
        tables = tuple(Declared(str(name), str(text)) for kind, name, text in listed if kind == "table")
        indexes = tuple(Declared(str(name), str(text)) for kind, name, text in listed if kind == "index")
        local = LocalTables(tables, indexes, frozenset(fold(table.name) for table in tables))
        for table in tables:
            _check_table(connection, table.name, local.names, view)
    return local


def check_view_stands_alone(sql: str, local_sql: str) -> None:
    """Raise if the view's statements refer to a table that `local_sql` declares: other devices have other rows in it."""
    local_names = {fold(_created(statement)) for statement in statements(local_sql)} - {""}
    for statement in statements(sql):
        for word, name in pairwise(statement):
            if word.word == "REFERENCES" and fold(name.name) in local_names:
                raise InvalidApp(
                    f"`{excerpt(source(sql, statement))}` has a foreign key to {name.name}, which is local to each device; "
                    "leave it out, or let both be in tables"
                )


def _created(statement: Sequence[Token]) -> str:
    """Give the name of the table that a statement creates, "" if it creates none."""
    words = [token.word for token in statement]
    if words[:2] != ["CREATE", "TABLE"]:
        return ""
    at = 5 if words[2:5] == ["IF", "NOT", "EXISTS"] else 2
    return statement[at].name if at < len(statement) else ""


def _check_statement(text: str, statement: Sequence[Token]) -> None:
    words = [token.word for token in statement[:3]]
    shown = excerpt(text)
    if first_keyword(statement) != "CREATE" or (
        words[1:2] not in (["TABLE"], ["INDEX"]) and words[1:] != ["UNIQUE", "INDEX"]
    ):
        raise InvalidApp(f"local_tables holds `{shown}`, but may hold only CREATE TABLE and CREATE INDEX; leave it out")
    reserved = reserved_name(statement)
    if reserved is not None:
        raise InvalidApp(
            f"`{shown}` uses the name {reserved}, but names in {reserved.partition('_')[0]}_ are taken; choose another name"
        )
    for schema, dot in pairwise(statement):
        if dot.text == "." and fold(schema.name) in ("main", "temp"):
            raise InvalidApp(f"`{shown}` names the schema {schema.name}; leave out `{schema.name}.`")
    if has_words(statement, "CONFLICT", "ROLLBACK"):
        raise InvalidApp(f"`{shown}` has ON CONFLICT ROLLBACK, which would undo events too; say ON CONFLICT ABORT")
    if has_words(statement, "INITIALLY", "DEFERRED"):
        # What is violated would be found when an event is applied, or at the commit, and be held against the wrong one.
        raise InvalidApp(f"`{shown}` has a deferred foreign key, which would stop events; leave out INITIALLY DEFERRED")


def _check_table(connection: apsw.Connection, name: str, local_names: frozenset[str], view: TableSet) -> None:
    # SQL: whether it is STRICT. An index or constraint on a table that is not, may hold anything.
    if not connection.execute("SELECT strict FROM pragma_table_list(?) WHERE schema = 'main'", (name,)).get:
        raise InvalidApp(
            f"local table {name} is not STRICT, so a column could hold any type; write CREATE TABLE {name} (...) STRICT"
        )
    # SQL: the tables that its foreign keys lead to.
    for (parent,) in connection.execute('SELECT "table" FROM pragma_foreign_key_list(?)', (name,)).fetchall():
        if fold(str(parent)) in view.names:
            raise InvalidApp(
                f"local table {name} has a foreign key to {parent}, which is made from events; leave it out, because it "
                "would stop events on this device alone"
            )
        if fold(str(parent)) not in local_names:
            raise InvalidApp(
                f"local table {name} has a foreign key to {parent}, which is not declared; declare it, or leave it out"
            )
    try:
        connection.execute(f"EXPLAIN DELETE FROM {quote(name)}")
    except apsw.Error as error:
        raise InvalidApp(f"local table {name} cannot be used: {error}; correct its columns or foreign keys") from error


def _run(connection: apsw.Connection, statement: str) -> None:
    try:
        connection.execute(statement)
    except (apsw.Error, ValueError) as error:
        # ValueError is apsw's for a NUL in the text.
        raise InvalidApp(
            f"SQLite refuses `{excerpt(statement)}` among the local tables: {error}; correct it, or choose another name"
        ) from error


def _texts(sql: str) -> list[str]:
    return [token.text for token in tokens(sql)]
