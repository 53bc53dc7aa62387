"""What an app's CREATE statements declare, and whether every device can keep it alike and take it back.

SQLite is the parser: the statements run in a scratch database in memory, and its PRAGMAs say what came of them. Tokens
are looked at only for what no PRAGMA tells. A table without INTEGER PRIMARY KEY is created WITHOUT ROWID, because a
hidden rowid would number the rows, and order every unsorted scan, by arrival.

Left out: migrations (other tables mean a rebuild), and how the tables are filled.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import apsw

from driftlog._sqlite.cells import NO_CONSTRAINTS, Constraints, Shape, constraints_of, states_conflict_clause
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
    why_impure,
)
from driftlog.errors import InvalidApp

SQL_CHARS_MAX = 1_000_000
"""Of all statements together. SQLite's customary bound for one statement; a thousand tables fit."""


@dataclass(frozen=True)
class Table:
    """A table: the images that the preupdate hook gives of its rows, and the SQL that puts rows back.

    `columns` are in the order of `PreUpdate.old` and `.new`, that of CREATE TABLE; `stored` and `key` index it.
    `loose` are the key columns in which two values can count as one key (NOCASE: 'a' and 'A'; type ANY: 1 and 1.0).
    `types` are upper case, INT written INTEGER.
    """

    name: str
    index: int
    columns: tuple[str, ...]
    stored: tuple[int, ...]
    key: tuple[int, ...]
    loose: tuple[int, ...]
    has_unique: bool
    is_rowid: bool
    types: tuple[str, ...]
    constraints: Constraints = NO_CONSTRAINTS

    @cached_property
    def delete_sql(self) -> str:
        """Delete one row; parameters: the values of `key`.

        Only the row with exactly these values goes: under NOCASE, deleting 'A' does not take away the 'a' that an
        upsert has just put back in its place. The plain comparison beside it is the one that the key's index can serve.
        """
        exact = [f"{self._name(column)} = ?{at}" for at, column in enumerate(self.key, 1)]
        exact += [
            f"{self._name(column)} = ?{at} COLLATE BINARY"
            for at, column in enumerate(self.key, 1)
            if column in self.loose
        ]
        return f"DELETE FROM {quote(self.name)} WHERE {' AND '.join(exact)}"

    @cached_property
    def insert_sql(self) -> str:
        """Insert one row; parameters: the values of `stored`.

        OR ABORT overrules an ON CONFLICT REPLACE or IGNORE in the table's own constraints: putting a row back must
        never delete another one, nor leave the row out.
        """
        parameters = ", ".join("?" * len(self.stored))
        return f"INSERT OR ABORT INTO {quote(self.name)} ({self._names(self.stored)}) VALUES ({parameters})"

    @cached_property
    def upsert_sql(self) -> str:
        """Insert one row or overwrite the one with its key; parameters: the values of `stored`.

        Key columns stay as they are where equal means identical; loose ones are written, or 'a' would stay 'A'.
        """
        written = [column for column in self.stored if column not in self.key or column in self.loose]
        change = ", ".join(f"{self._name(column)} = excluded.{self._name(column)}" for column in written)
        action = f"UPDATE SET {change}" if written else "NOTHING"
        return f"{self.insert_sql} ON CONFLICT ({self._names(self.key)}) DO {action}"

    def find_sql(self, columns: Sequence[int]) -> str:
        """Find the key of the row with these values; parameters: the values of `columns`."""
        values = " AND ".join(f"{self._name(column)} = ?" for column in columns)
        return f"SELECT {self._names(self.key)} FROM {quote(self.name)} WHERE {values}"

    @cached_property
    def clear_sql(self) -> str:
        """Delete all rows."""
        return f"DELETE FROM {quote(self.name)}"

    @cached_property
    def select_all_sql(self) -> str:
        """Read the values of `stored` of every row, in the order of the key, which is total."""
        return f"SELECT {self._names(self.stored)} FROM {quote(self.name)} ORDER BY {self._names(self.key)}"

    def _name(self, column: int) -> str:
        return quote(self.columns[column])

    def _names(self, columns: Sequence[int]) -> str:
        return ", ".join(map(self._name, columns))


@dataclass(frozen=True, slots=True)
class TableSet:
    """All that an app declares. `names` holds tables and views, folded, and `triggered` those of them with triggers;
    `fingerprint` ignores space and comments.
    """

    statements: tuple[str, ...]
    tables: tuple[Table, ...]
    names: frozenset[str]
    triggered: frozenset[str]
    has_foreign_keys: bool
    has_deferred_foreign_keys: bool
    fingerprint: bytes

    @property
    def has_triggers(self) -> bool:
        """Whether there are any triggers."""
        return bool(self.triggered)


def declare_tables(sql: str, *, is_float_allowed: bool) -> TableSet:
    """Read an app's CREATE statements, or raise `InvalidApp`, which names the table or column and what to write.

    IF NOT EXISTS is dropped from the normalised statements. Ten tables cost some 7 ms, once for an app.
    """
    if len(sql) > SQL_CHARS_MAX:
        raise InvalidApp(f"the table declarations are {len(sql)} characters long (limit {SQL_CHARS_MAX}); shorten them")
    declared = [_vetted(sql, statement) for statement in statements(sql)]
    normalised = tuple(_without_rowid(item) if item.kind == "TABLE" else item.sql for item in declared)
    scratch = apsw.Connection(":memory:")
    try:
        scratch.execute("PRAGMA foreign_keys = ON")
        # As on the connection that writes: what SQLite calls unsafe in a view or trigger is refused here already.
        scratch.execute("PRAGMA trusted_schema = OFF")
        for statement in normalised:
            _run(scratch, statement)
        # SQL: every table and view that the statements made. SQLite's own tables are listed too.
        listed = _rows(scratch, "SELECT name, type FROM pragma_table_list WHERE schema = 'main'")
        kind_by_name = {name: kind for name, kind in listed if not name.startswith("sqlite_")}
        names = sorted((name for name, kind in kind_by_name.items() if kind == "table"), key=fold)
        tables = tuple(
            _table(scratch, name, index, is_float_allowed=is_float_allowed) for index, name in enumerate(names)
        )
        _check_that_all_compile(scratch, tables, [name for name, kind in kind_by_name.items() if kind == "view"])
        tables = _with_constraints(scratch, tables, declared)
        # SQL: the tables and views that triggers are on.
        triggered = _rows(scratch, "SELECT tbl_name FROM sqlite_schema WHERE type = 'trigger'")
    finally:
        scratch.close()
    return TableSet(
        statements=normalised,
        tables=tables,
        names=frozenset(map(fold, kind_by_name)),
        triggered=frozenset(fold(name) for (name,) in triggered),
        has_foreign_keys=any(table.constraints.as_child for table in tables),
        has_deferred_foreign_keys=any(_defers_foreign_keys(item) for item in declared),
        fingerprint=_fingerprint(normalised),
    )


# --- what the text may say --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Declared:
    """One CREATE statement: IF NOT EXISTS is gone from it, and `body` is what follows the name."""

    sql: str
    kind: str
    name: str
    body: tuple[Token, ...]


def _vetted(script: str, statement: tuple[Token, ...]) -> _Declared:
    item = _parsed(script, statement)
    reserved = reserved_name(statement)
    if reserved is not None:
        prefix = reserved.partition("_")[0]
        raise _invalid(item, f"uses the name {reserved}, but names in {prefix}_ are taken", "choose another name")
    for schema, dot in pairwise(statement):
        # The view is rebuilt aside, in another place than `main`; a qualified name would tie it to one.
        if dot.text == "." and fold(schema.name) in ("main", "temp"):
            raise _invalid(item, f"names the schema {schema.name}", f"leave out `{schema.name}.`")
    if has_words(statement, "AUTOINCREMENT"):
        raise _invalid(
            item, "has AUTOINCREMENT, whose counter is not taken back", "leave it out, or make ids in the event"
        )
    for pattern in (("CONFLICT", "ROLLBACK"), ("OR", "ROLLBACK"), ("RAISE", "(", "ROLLBACK")):
        if has_words(statement, *pattern):
            wrong = " ".join(pattern).replace(" ( ", "(")
            raise _invalid(item, f"has {wrong}, which would undo other events too", wrong.replace("ROLLBACK", "ABORT"))
    if item.kind != "VIEW":
        # A view may say what it likes: the app may read it, and a materializer that does is stopped when it runs.
        _refuse_impure(item)
    return item


def _parsed(script: str, statement: tuple[Token, ...]) -> _Declared:
    text = excerpt(source(script, statement))
    words = [token.word for token in statement]
    if first_keyword(statement) != "CREATE":
        raise InvalidApp(
            f"tables holds `{text}`, but may hold only CREATE TABLE, INDEX, VIEW and TRIGGER; materializers do the rest"
        )
    at = 2 if words[1:2] == ["UNIQUE"] else 1
    kind = words[at] if at < len(words) else ""
    if kind in ("TEMP", "TEMPORARY"):
        raise InvalidApp(f"`{text}` would be gone when the file is closed; leave out {kind}")
    if kind == "VIRTUAL":
        raise InvalidApp(f"`{text}`: virtual tables (full text, R-tree) cannot be rewound yet; use an ordinary table")
    if kind not in ("TABLE", "INDEX", "VIEW", "TRIGGER"):
        raise InvalidApp(
            f"tables holds `{text}`, but may hold only CREATE TABLE, INDEX, VIEW and TRIGGER; leave it out"
        )
    at += 1
    start, end = statement[0].start, statement[-1].end
    sql = script[start:end]
    if words[at : at + 3] == ["IF", "NOT", "EXISTS"] and len(statement) > at + 3:
        # Gone, because under it a second declaration of the same name would be passed over in silence.
        sql = script[start : statement[at].start] + script[statement[at + 3].start : end]
        at += 3
    body = statement[at + 1 :]
    name = statement[at].name if at < len(statement) else ""
    if not name:
        raise InvalidApp(f"`{text}` has no name that can be read; write CREATE {kind} name ...")
    item = _Declared(sql, kind, name, body)
    if body and body[0].text == ".":
        raise _invalid(item, f"is declared in the schema {name}", f"leave out `{name}.`")
    if kind == "TABLE" and body and body[0].word == "AS":
        raise _invalid(item, "is made AS SELECT, so has no key and no types", "declare its columns")
    return item


def _refuse_impure(item: _Declared) -> None:
    is_index = item.kind == "INDEX"
    previous = ""
    for token, following in zip(item.body, (*item.body[1:], None), strict=True):
        # A table may bear a function's name: `REFERENCES date (id)`, `INSERT INTO date (id)`, `INDEX i ON date (id)`.
        is_table = previous in ("REFERENCES", "INTO") or (is_index and previous == "ON")
        is_called = token.word.startswith("CURRENT_") or (following is not None and following.text == "(")
        why = why_impure(token.name) if is_called and not is_table else None
        if why is not None:
            call = token.name if token.word.startswith("CURRENT_") else f"{token.name}()"
            raise _invalid(item, f"uses {call}, {why}", "write the value in the materializer")
        is_index = is_index and previous != "ON"
        previous = token.word


def _defers_foreign_keys(item: _Declared) -> bool:
    # No PRAGMA tells this. NOT DEFERRABLE INITIALLY DEFERRED is checked at once, in spite of how it ends.
    words = ["", *(token.word for token in item.body)]
    deferred = ["DEFERRABLE", "INITIALLY", "DEFERRED"]
    return any(words[at : at + 3] == deferred and words[at - 1] != "NOT" for at in range(1, len(words)))


def _fingerprint(normalised: Sequence[str]) -> bytes:
    state = blake2b(b"driftlog tables\0", digest_size=32)
    for statement in normalised:
        # The lengths keep `a b` apart from `ab`, and one statement from two.
        texts = [token.text.encode() for token in tokens(statement)]
        state.update(b"%d;" % len(texts) + b"".join(b"%d:%s" % (len(text), text) for text in texts))
    return state.digest()


def _invalid(item: _Declared, what: str, instead: str) -> InvalidApp:
    return InvalidApp(f"{item.kind.lower()} {item.name} {what}; {instead}")


# --- what SQLite makes of it ------------------------------------------------------------------------------------------


def _rows(scratch: apsw.Connection, sql: str, *parameters: str | None) -> list[Any]:
    return scratch.execute(sql, parameters).fetchall()


def _run(scratch: apsw.Connection, statement: str) -> None:
    try:
        scratch.execute(statement)
    except (apsw.Error, ValueError) as error:
        # ValueError is apsw's for a NUL in the text.
        raise InvalidApp(f"SQLite refuses `{excerpt(statement)}`: {error}; correct it") from error


def _without_rowid(item: _Declared) -> str:
    """Give the statement, with WITHOUT ROWID appended if the table would number its rows by itself.

    A key is the rowid itself when SQLite makes no index for it. That is asked of SQLite rather than of the text: INT
    PRIMARY KEY and, by a quirk, INTEGER PRIMARY KEY DESC are no aliases.
    """
    scratch = apsw.Connection(":memory:")
    try:
        _run(scratch, item.sql)
        [(has_rowid, is_strict)] = _rows(
            scratch, "SELECT NOT wr, strict FROM pragma_table_list(?) WHERE schema = 'main'", item.name
        )
        if not is_strict:
            raise _invalid(
                item, "is not STRICT, so a column could hold any type", f"write CREATE TABLE {item.name} (...) STRICT"
            )
        # SQL: how many columns the key has, 0 if there is none.
        [(keys,)] = _rows(scratch, "SELECT count(*) FROM pragma_table_xinfo(?) WHERE pk", item.name)
        if keys == 0:
            raise _invalid(
                item, "has no PRIMARY KEY, so no device could say which row is which", "add PRIMARY KEY to a column"
            )
        # SQL: the index of the key, absent where the key is the rowid.
        indexed = _rows(scratch, "SELECT 1 FROM pragma_index_list(?) WHERE origin = 'pk'", item.name)
    finally:
        scratch.close()
    # STRICT stands at the end already, so the list of table options goes on with a comma.
    return f"{item.sql}, WITHOUT ROWID" if has_rowid and indexed else item.sql


VIRTUAL_GENERATED, STORED_GENERATED = 2, 3
"""What `hidden` of PRAGMA table_xinfo says of a generated column."""


def _table(scratch: apsw.Connection, name: str, index: int, *, is_float_allowed: bool) -> Table:
    columns = _rows(scratch, "SELECT name, type, pk, hidden FROM pragma_table_xinfo(?)", name)
    for column, column_type, _, hidden in columns:
        if hidden == VIRTUAL_GENERATED:
            raise InvalidApp(f"column {name}.{column} is generated and not stored, so cannot be rewound; add STORED")
        if not is_float_allowed and column_type.upper() in ("REAL", "ANY"):
            raise InvalidApp(
                f"column {name}.{column} has type {column_type.upper()} and could hold floats, whose sum depends on the"
                " order of adding; store integers of a smaller unit (cents, not euros), or say App(..., floats=True)"
            )
    key = tuple(at for _, at in sorted((pk, at) for at, (_, _, pk, _) in enumerate(columns) if pk))
    indexes = _rows(scratch, 'SELECT name, origin, "unique" FROM pragma_index_list(?)', name)
    key_index = next((index_name for index_name, origin, _ in indexes if origin == "pk"), None)
    # SQL: the columns of the key whose order is not that of their bytes.
    collated = _rows(scratch, "SELECT cid FROM pragma_index_xinfo(?) WHERE key AND coll <> 'BINARY'", key_index)
    loose = {cid for (cid,) in collated} | {at for at in key if columns[at][1].upper() == "ANY"}
    assert key, "a table without a key was refused above"
    return Table(
        name=name,
        index=index,
        columns=tuple(column for column, _, _, _ in columns),
        stored=tuple(at for at, (_, _, _, hidden) in enumerate(columns) if hidden != STORED_GENERATED),
        key=key,
        loose=tuple(at for at in key if at in loose),
        has_unique=any(is_unique and origin != "pk" for _, origin, is_unique in indexes),
        is_rowid=key_index is None,
        types=tuple("INTEGER" if column[1].upper() == "INT" else column[1].upper() for column in columns),
    )


def _with_constraints(
    scratch: apsw.Connection, tables: Sequence[Table], declared: Sequence[_Declared]
) -> tuple[Table, ...]:
    stating = {fold(item.name) for item in declared if item.kind == "TABLE" and states_conflict_clause(item.body)}
    shapes = [
        Shape(table.name, table.columns, table.types, table.key, bool(table.loose), fold(table.name) in stating)
        for table in tables
    ]
    constraints = constraints_of(scratch, shapes)
    return tuple(replace(table, constraints=each) for table, each in zip(tables, constraints, strict=True))


def _check_that_all_compile(scratch: apsw.Connection, tables: Sequence[Table], views: Sequence[str]) -> None:
    """Compile a read and every kind of write, for SQLite looks into views, triggers and foreign keys only then."""
    for table in tables:
        change = ", ".join(f"{quote(table.columns[at])} = NULL" for at in table.stored)
        for sql, parameters in (
            (table.select_all_sql, 0),
            (table.insert_sql, len(table.stored)),
            (table.upsert_sql, len(table.stored)),
            (f"UPDATE {quote(table.name)} SET {change}", 0),
            (table.delete_sql, len(table.key)),
        ):
            _check_that_it_compiles(scratch, f"table {table.name}", sql, parameters)
    for view in views:
        _check_that_it_compiles(scratch, f"view {view}", f"SELECT * FROM {quote(view)}", 0)


def _check_that_it_compiles(scratch: apsw.Connection, what: str, sql: str, parameters: int) -> None:
    try:
        scratch.execute(f"EXPLAIN {sql}", (None,) * parameters)
    except apsw.Error as error:
        raise InvalidApp(f"{what} cannot be used: {error}; correct its columns, triggers or foreign keys") from error
