"""What a materializer's SQL may be: the app's tables, and answers that every device gets alike.

Two fences. `vet_statement` looks at the text, for what SQLite would not ask about (`OR ROLLBACK` gets no callback).
`Confinement` is SQLite's authorizer, asked while a statement is compiled, which sees through views, triggers, defaults
and aliases.

Left out: endless statements, which the authorizer cannot foresee.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from driftlog._sqlite.sqltext import excerpt, first_keyword, fold, has_words, reserved_name, statements, why_impure
from driftlog._sqlite.tables import TableSet
from driftlog.errors import ForbiddenSQL

KEYWORDS = ("SELECT", "VALUES", "WITH", "INSERT", "UPDATE", "DELETE", "REPLACE")
"""With what a materializer's statement may begin."""

JSON_TABLES = frozenset({"json_each", "json_tree", "jsonb_each", "jsonb_tree"})
"""Table-valued functions that read nothing but their argument."""

LOCAL_TO_READ = "which is local and holds other rows on every device; put what is needed into the event"
LOCAL_TO_WRITE = "which is local to this device; write it with tx.execute_local(...) in the transaction that appends"

_NAMING_A_TABLE = (apsw.SQLITE_READ, apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE)
_BUILT_IN_TABLES = frozenset({"dbstat", "fts3tokenize"})
_BUILT_IN_PREFIXES = ("driftlog_", "sqlite_", "pragma_")


def vet_statement(sql: str) -> None:
    """Raise `ForbiddenSQL` unless the text is one statement that reads or writes rows. Cache the answer per text."""
    found = statements(sql)
    text = excerpt(sql)
    if len(found) != 1:
        raise ForbiddenSQL(f"`{text}` holds {len(found)} statements; execute one at a time")
    [statement] = found
    keyword = first_keyword(statement)
    if keyword not in KEYWORDS:
        begin = keyword or statement[0].text
        raise ForbiddenSQL(f"`{text}` begins with {begin}; it may begin with {', '.join(KEYWORDS)}")
    reserved = reserved_name(statement)
    if reserved is not None:
        raise ForbiddenSQL(
            f"`{text}` uses the name {reserved}, and names in {reserved.partition('_')[0]}_ belong to the engine;"
            " use only the tables declared in App(tables=...), or another alias"
        )
    if has_words(statement, "OR", "ROLLBACK"):
        raise ForbiddenSQL(f"`{text}` says OR ROLLBACK, which would undo other events too; say OR ABORT, or reject()")


class Confinement:
    """An authorizer for the connection that writes: `connection.authorizer = Confinement(tables)`.

    It refuses only while `is_active`. SQLite asks when it compiles, and apsw keeps compiled statements by their text:
    one that was compiled while inactive is not asked about again. So whoever flips `is_active` vets each text first,
    and runs none of the app's own SQL on this connection unconfined.

    SQLite reports a refusal as `AuthError`, but as plain `SQLError` when a function was refused. So ask `take_reason`
    after any error rather than look at its class.
    """

    __slots__ = ("_names", "_noted", "is_active", "local_names", "reason")

    def __init__(self, tables: TableSet, local_names: frozenset[str] = frozenset()) -> None:
        self._names = tables.names
        self.local_names = local_names
        """Tables that the app keeps on each device alone: refused with a reason of their own."""
        self.is_active = False
        self._noted: set[str] | None = None
        self.reason: str | None = None

    @contextmanager
    def noting_tables(self) -> Iterator[set[str]]:
        """Collect the folded names of the tables that statements compiled within read or write."""
        self._noted = noted = set[str]()
        try:
            yield noted
        finally:
            self._noted = None

    def take_reason(self) -> str | None:
        """Give why the last statement was refused, as the end of a sentence, and forget it; None if it was not."""
        reason, self.reason = self.reason, None
        return reason

    def __call__(self, action: int, p1: str | None, p2: str | None, db: str | None, trigger: str | None) -> int:
        """Answer SQLite: `SQLITE_OK` or `SQLITE_DENY`."""
        if self._noted is not None and action in _NAMING_A_TABLE and p1 is not None:
            self._noted.add(fold(p1))
        if not self.is_active:
            return apsw.SQLITE_OK
        reason = self._why_denied(action, p1 or "", p2 or "", db)
        if reason is None:
            return apsw.SQLITE_OK
        # After refusing a function SQLite goes on asking about the rest of the statement; the first reason counts.
        if self.reason is None:
            self.reason = f"{reason} (inside {trigger})" if trigger else reason
        return apsw.SQLITE_DENY

    def _why_denied(self, action: int, p1: str, p2: str, db: str | None) -> str | None:
        match action:
            case apsw.SQLITE_SELECT | apsw.SQLITE_RECURSIVE:
                return None
            case apsw.SQLITE_READ:
                return self._why_unreadable(p1, p2, db)
            case apsw.SQLITE_INSERT | apsw.SQLITE_UPDATE | apsw.SQLITE_DELETE:
                if fold(p1) in self._names and db == "main":
                    return None
                if fold(p1) in self.local_names:
                    return f"it may not write {p1}, {LOCAL_TO_WRITE}"
                return (
                    f"it may not write table {p1}, which is not one of the app's tables;"
                    " write only tables declared in App(tables=...)"
                )
            case apsw.SQLITE_FUNCTION:
                why = why_impure(p2)
                return None if why is None else f"it may not call {p2}(), {why}"
            case apsw.SQLITE_TRANSACTION | apsw.SQLITE_SAVEPOINT:
                return "it may not begin or end a transaction, which the engine does around each event; use reject(...)"
            case apsw.SQLITE_PRAGMA:
                return f"it may not run PRAGMA {p1}, which reaches outside the app's tables; leave it out"
            case _:
                name = apsw.mapping_authorizer_function.get(action, action)
                return f"it may not do {name}; read and write rows of the tables declared in App(tables=...)"

    def _why_unreadable(self, table: str, column: str, db: str | None) -> str | None:
        name = fold(table)
        if name in JSON_TABLES:
            return None
        if name in self._names and db in ("main", None):
            return None
        if name in self.local_names and db == "main":
            return f"it may not read {table}, {LOCAL_TO_READ}"
        # When no column of a source is used, as in `SELECT count(*) FROM x`, SQLite gives no database, and x may be a
        # name from the statement's own WITH. Such a name cannot be told from a table's, so the tables that SQLite and
        # the engine bring along are refused by name. The local ones are told apart by `access_of`.
        is_built_in = name in _BUILT_IN_TABLES or name.startswith(_BUILT_IN_PREFIXES)
        if column == "" and db is None and not is_built_in:
            return None
        return (
            f"it may not read table {table}, which is not one of the app's tables;"
            " read only tables declared in App(tables=...)"
        )
